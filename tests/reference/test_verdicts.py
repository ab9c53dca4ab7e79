"""30 robustness questions of VNN-COMP 2021 with known answers: 18 hold, 12 are violated.

`target` is -1 in all of them: the label's logit must beat every other one everywhere in the clipped ball.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.reference.bounds import network

NAME = "vnncomp_mnistfc_256x2"
# How many of the 18 each method proves. More would be progress; a violated one proven is a bug.
PROVEN = {
    "IBP": (jc.ibp(), 0),
    "CROWN-IBP": (jc.crown_ibp(), 8),
    "CROWN": (jc.crown(), 10),
    "CROWN, intermediate bounds intersected with IBP": (
        jc.crown(intermediate=jc.tightest(jc.ibp(), jc.crown())),
        11,
    ),
    "alpha-CROWN, intermediate bounds of CROWN": (jc.alpha_crown(20, intermediate=jc.crown()), 10),
}


@pytest.fixture(scope="module")
def instances(data_dir):
    folder = data_dir / "nets" / "vnncomp_verdicts"
    questions = json.loads((folder / "mnistfc_256x2_instances.json").read_text())["instances"]
    stored = np.load(folder / "mnistfc_256x2_images.npz")["images_uint8_CHW"]
    assert all(q["target"] == -1 and q["clip01"] and q["network"] == NAME for q in questions)
    images = stored[[q["image_row"] for q in questions]].transpose(0, 2, 3, 1) / 255.0
    holds = np.array([q["ground_truth"] == "holds" for q in questions])
    assert (int(holds.sum()), int((~holds).sum())) == (18, 12)
    return images, np.array([q["label"] for q in questions]), np.array([q["eps"] for q in questions]), holds


@pytest.mark.optimised
@pytest.mark.parametrize("name", PROVEN)
def test_no_verdict_contradicts(data_dir, instances, name):
    images, labels, radii, holds = instances
    net, (method, count) = network(data_dir, NAME), PROVEN[name]
    params = net.cast(jnp.float32)

    def certified(x, label, eps):
        region = jc.linf_ball(x, eps, clip=(0.0, 1.0))
        return jc.is_certified(jc.margins(method, lambda x: net.apply(params, x), region, label))

    arguments = jnp.asarray(images, jnp.float32), jnp.asarray(labels), jnp.asarray(radii, jnp.float32)
    proven = np.asarray(jax.jit(jax.vmap(certified))(*arguments))
    assert not (proven & ~holds).any()
    assert int(proven.sum()) >= count
