"""The shared architectures run, depend on their weights, and give three finite outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.common.architecture import OUTPUTS
from tests.common.architectures import ARCHITECTURES, BY_NAME


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_shape_and_dependence(architecture):
    rng = np.random.default_rng(0)
    first, second = (
        jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), architecture.init(rng)) for _ in "ab"
    )
    x = jnp.asarray(rng.random(architecture.in_shape), jnp.float32)
    outputs = [architecture.apply(params, x) for params in (first, second)]
    assert outputs[0].shape == (OUTPUTS,)
    assert bool(jnp.isfinite(jnp.stack(outputs)).all())
    assert not bool(jnp.allclose(*outputs))


def test_names_are_unique():
    assert len(BY_NAME) == len(ARCHITECTURES) <= 64
