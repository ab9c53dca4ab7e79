"""Certified and adversarial robustness of neural networks, in JAX."""

__version__ = "0.1.0"
