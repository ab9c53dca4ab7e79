"""Certified error >= AutoAttack's >= PGD's on every published network: recorded CROWN, short attacks."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxcert as jc
from jaxcert.attacks import Stage
from jaxcert.formats import read_plain_network
from tests.common.images import first_images
from tests.common.networks import names
from tests.reference.bounds import record

PGD = jc.pgd(20)
ENSEMBLE = jc.autoattack((Stage("apgd-ce", jc.apgd(20)), Stage("pgd", PGD)))


def test_certified_images_survive_on_every_network(data_dir):
    """The 16 images of the recorded CROWN bounds. Networks without recorded bounds are counted."""
    unknown = []
    for name in names(data_dir):
        path = data_dir / "reference" / f"autolirpa_{name}.json"
        if path.exists():
            check(data_dir, name)
        else:
            unknown.append(name)
    assert len(unknown) <= 1, unknown


def check(data_dir, name):
    entry = next(
        entry
        for entry in record(data_dir, f"autolirpa_{name}")["entries"]
        if (entry["method"], entry["norm"], entry["clip"], entry["dtype"])
        == ("CROWN", "inf", [0, 1], "float64")
    )
    proved = np.array(entry["margins"]).min(-1) > 0
    network = read_plain_network(data_dir / "nets" / f"{name}.json")
    images, labels = first_images(data_dir, network.dataset, len(proved))

    def one(x, label, key):
        region = jc.linf_ball(x, entry["eps"], clip=(0.0, 1.0))
        fn = lambda x: network.apply(network.params, x)
        # The ensemble's second stage is this very PGD, with the key that it gets there.
        alone = PGD(fn, region, label, key=jax.random.fold_in(key, 1))
        return ENSEMBLE(fn, region, label, key=key).success, alone.success

    keys = jax.random.split(jax.random.key(0), len(proved))
    found = jax.jit(jax.vmap(one))(jnp.asarray(images, jnp.float32), jnp.asarray(labels), keys)
    ensemble, pgd = (np.asarray(flags) for flags in found)
    assert not (proved & ensemble).any(), name
    assert (ensemble | ~pgd).all(), name
    assert (~proved).sum() >= ensemble.sum() >= pgd.sum(), name
