"""The whole evaluation of a network: reports at every eps, and a lie is found out."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.attacks import fgsm
from jaxcert.attacks.autoattack import Stage, autoattack
from jaxcert.bounds import ibp
from jaxcert.errors import CheckpointError, ConfigError, InconsistentReportError
from jaxcert.evaluate import Protocol, Subject, evaluate, fingerprint
from tests.evaluate import linear


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Overclaims:
    """A method that certifies everything."""

    def lower(self, fn, region, coeffs, offset=None):
        del fn, region, offset
        return jnp.ones(coeffs.shape[0])


def subject(count=20, flip=2):
    split = linear.images(count, flip=flip)
    identity = {"network": fingerprint(linear.weights()), "images": fingerprint(split.images, split.labels)}
    return Subject("linear", linear.apply, linear.weights(), split, identity)


def protocol(**changes):
    settings = {"attack": linear.ExactAttack(), "attack_name": "exact", "methods": {"ibp": ibp()}}
    return Protocol(**{"eps": (0.02, 0.08), "batch_size": 8, **settings, **changes})


def test_reports_at_every_eps_equal_the_closed_form(tmp_path):
    reports = evaluate(subject(), protocol(), tmp_path)
    for report, eps in zip(reports, (0.02, 0.08), strict=True):
        errors = np.sum(linear.exact_margins(subject().images, eps) <= 0)
        assert (report.eps, report.n, report.clean) == (eps, 20, 2)
        assert (report.attacked, report.certified) == (errors, {"ibp": errors})
        assert set(report.seconds) == {"clean", "attacked", "ibp"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "attacked-linf-eps0.02.jsonl",
        "attacked-linf-eps0.08.jsonl",
        "certified-ibp-linf-eps0.02.jsonl",
        "certified-ibp-linf-eps0.08.jsonl",
        "clean.jsonl",
    ]


def test_an_ensemble_runs_in_stages(tmp_path):
    stages = (Stage("fgsm", fgsm()), Stage("exact", linear.ExactAttack()))
    reports = evaluate(subject(), protocol(attack=autoattack(stages=stages)), tmp_path)
    alone = evaluate(subject(), protocol(), tmp_path)
    assert [report.attacked for report in reports] == [report.attacked for report in alone]
    folder = tmp_path / "autoattack-linf-eps0.02"
    assert {path.name for path in folder.glob("*.jsonl")} == {"stage-1-fgsm.jsonl", "stage-2-exact.jsonl"}
    assert evaluate(subject(), protocol(attack=autoattack(stages=stages)), tmp_path) == reports


def test_a_second_call_takes_everything_from_disk(tmp_path):
    first = evaluate(subject(), protocol(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert evaluate(subject(), protocol(), tmp_path) == first
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_network_does_not_take_up_these_results(tmp_path):
    evaluate(subject(), protocol(attack=None, methods={}), tmp_path)
    other = Subject("linear", linear.apply, linear.weights(7), linear.images(20), {"network": "other"})
    with pytest.raises(CheckpointError, match="other settings"):
        evaluate(other, protocol(attack=None, methods={}), tmp_path)


def test_a_method_that_overclaims_is_found_out(tmp_path):
    with pytest.raises(
        InconsistentReportError, match=r"Image \d+ is certified by lie .* successfully attacked"
    ):
        evaluate(subject(flip=0), protocol(methods={"lie": Overclaims()}), tmp_path / "attacked")
    with pytest.raises(InconsistentReportError, match=r"Image 0 is certified by lie .* misclassified"):
        evaluate(subject(), protocol(attack=None, methods={"lie": Overclaims()}), tmp_path / "clean")


def test_no_eps_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least one eps"):
        evaluate(subject(), protocol(eps=()), tmp_path)


def test_fingerprints_tell_arrays_apart():
    weights = {"a": np.arange(4.0), "b": np.zeros((2, 2))}
    assert fingerprint(weights) == fingerprint({"b": np.zeros((2, 2)), "a": np.arange(4.0)})
    assert fingerprint(weights) != fingerprint({**weights, "b": np.zeros(4)})
    assert fingerprint(weights) != fingerprint({**weights, "a": np.arange(4.0) + 1e-12})
