"""Certified and adversarial robustness of neural networks, in JAX.

A function and a region go in; bounds, margins, attacks and radii come out. Every method is
a value that maps `(fn, region)` for one example; batches are `jax.vmap`, speed is `jax.jit`.

>>> import jax.numpy as jnp, jaxcert as jc
>>> fn = lambda x: jnp.array([[2.0, 0.0], [0.0, 1.0]]) @ jnp.maximum(x, 0.0)
>>> region = jc.linf_ball(jnp.array([1.0, 0.5]), 0.2, clip=(0.0, 1.0))
>>> bool(jc.is_certified(jc.margins(jc.crown(), fn, region, label=0)))
True
"""

from jaxcert import attacks, bounds, certify, errors, kernels, regions, relax
from jaxcert.attacks import (
    AttackResult,
    apgd,
    autoattack,
    autoattack_plus,
    autoattack_rand,
    deepfool,
    fab,
    fgsm,
    fgsm_rs,
    multi_targeted,
    pgd,
    square,
)
from jaxcert.bounds import (
    Bounds,
    LinearBounds,
    LinearForm,
    alpha_crown,
    crown,
    crown_ibp,
    explain,
    fast_lin,
    forward,
    ibp,
    is_certified,
    margins,
    targeted_margins,
    tightest,
)
from jaxcert.certify import (
    AugmentedLagrangian,
    CertifiedRadii,
    Envelope,
    NeuronStatistics,
    RadiusBracket,
    bisection,
    certified_radius,
    neuron_statistics,
    nonuniform_radii,
    pec,
    polyhedral_envelope,
    rigorous,
    rigorous_margins,
    uniform_radii,
)
from jaxcert.chunking import map_examples, mean_gradient
from jaxcert.regions import Box, LpBall, Product, box, l1_ball, l2_ball, linf_ball, lp_ball, product
from jaxcert.relax import slopes

__version__ = "0.1.0"

__all__ = [
    "AttackResult",
    "AugmentedLagrangian",
    "Bounds",
    "Box",
    "CertifiedRadii",
    "Envelope",
    "LinearBounds",
    "LinearForm",
    "LpBall",
    "NeuronStatistics",
    "Product",
    "RadiusBracket",
    "alpha_crown",
    "apgd",
    "attacks",
    "autoattack",
    "autoattack_plus",
    "autoattack_rand",
    "bisection",
    "bounds",
    "box",
    "certified_radius",
    "certify",
    "crown",
    "crown_ibp",
    "deepfool",
    "errors",
    "explain",
    "fab",
    "fast_lin",
    "fgsm",
    "fgsm_rs",
    "forward",
    "ibp",
    "is_certified",
    "kernels",
    "l1_ball",
    "l2_ball",
    "linf_ball",
    "lp_ball",
    "map_examples",
    "margins",
    "mean_gradient",
    "multi_targeted",
    "neuron_statistics",
    "nonuniform_radii",
    "pec",
    "pgd",
    "polyhedral_envelope",
    "product",
    "regions",
    "relax",
    "rigorous",
    "rigorous_margins",
    "slopes",
    "square",
    "targeted_margins",
    "tightest",
    "uniform_radii",
]
