"""Independent references in numpy and scipy, float64; nothing here imports jaxcert or JAX."""
