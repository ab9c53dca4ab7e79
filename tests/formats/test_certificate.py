"""Certificate files: what is written is read, damage and contradictions are seen, lies are not confirmed."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from jaxcert.errors import CertificateError
from jaxcert.formats import (
    check_certificate,
    make_certificate,
    model_hash,
    read_certificate,
    write_certificate,
)
from jaxcert.relax.slopes import PerRow

RNG = np.random.default_rng(0)
PARAMS = {"w1": RNG.normal(size=(4, 6)), "w2": RNG.normal(size=(6, 3))}
MODEL = model_hash(PARAMS, {"name": "tiny"})
CENTER = RNG.uniform(0.2, 0.8, 4).astype(np.float32)


def fn(x):
    return jnp.maximum(x @ jnp.asarray(PARAMS["w1"]), 0.0) @ jnp.asarray(PARAMS["w2"])


LABEL = int(np.argmax(np.maximum(CENTER @ PARAMS["w1"], 0) @ PARAMS["w2"]))


def made(method=None, eps=0.01, norm=float("inf"), clip=(0.0, 1.0), **more):
    ball = {"center": CENTER, "eps": eps, "norm": norm, "clip": clip}
    found = make_certificate(
        fn, model=MODEL, label=LABEL, method=jc.crown() if method is None else method, **ball, **more
    )
    assert found is not None
    return found


@pytest.fixture(scope="module")
def claim():
    return made(notes={"index": 3})


def rewritten(path, **changes):
    """The file with other entries in its `about`, or without an array where None is given."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    about = json.loads(str(arrays["about"]))
    for name, value in changes.items():
        if name in arrays and value is None:
            del arrays[name]
        elif name in arrays:
            arrays[name] = value
        else:
            about[name] = value
    arrays["about"] = np.array(json.dumps(about))
    np.savez(path, **arrays)


METHODS = {
    "crown": jc.crown(),
    "parallel": jc.fast_lin(),
    "crown_ibp": jc.crown_ibp(),
    "ibp": jc.ibp(),
    "given": jc.crown(slope=[np.linspace(0, 1, 6)]),
    "rows": jc.bounds.Crown(PerRow({(-1, 1, 0): np.linspace(0, 1, 12).reshape(2, 6)}), jc.crown()),
}


@pytest.mark.parametrize("name", METHODS)
def test_what_is_written_is_read_and_confirmed(tmp_path, name):
    claim = made(METHODS[name], eps=0.003)
    write_certificate(tmp_path / "c.npz", claim)
    again = read_certificate(tmp_path / "c.npz")
    assert (again.model, again.eps, again.norm, again.label) == (MODEL, 0.003, float("inf"), LABEL)
    np.testing.assert_array_equal(again.center, CENTER)
    np.testing.assert_array_equal(again.bound, claim.bound)
    leaves = [jax.tree.leaves(m) for m in (again.method, claim.method)]
    assert len(leaves[0]) == len(leaves[1])
    for found, expected in zip(*leaves, strict=True):
        np.testing.assert_array_equal(found, expected)
    verdict = check_certificate(fn, MODEL, again)
    assert verdict.status == "confirmed"
    np.testing.assert_allclose(verdict.bound, claim.bound, rtol=2e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_slopes_of_rows_change_the_bound_and_survive(x64):
    """Slopes per row are used row by row: other rows, other bounds."""
    spec = jnp.asarray(np.eye(3)[[LABEL, LABEL]] - np.delete(np.eye(3), LABEL, 0))
    region = jc.linf_ball(jnp.asarray(CENTER, jnp.float64), 0.2)
    for rows in ([0.0, 0.0], [1.0, 1.0], [0.0, 1.0]):
        alphas = jnp.asarray(rows)[:, None] * jnp.ones((1, 6))
        method = jc.bounds.Crown(PerRow({(-1, 1, 0): alphas}), jc.crown())
        proven = np.asarray(jc.rigorous(method).lower(fn, region, spec))
        for row, alpha in enumerate(rows):
            fixed = jc.crown(slope=jc.slopes.one if alpha else jc.slopes.zero).lower(fn, region, spec)
            np.testing.assert_allclose(proven[row], fixed[row], rtol=1e-9)
            assert proven[row] <= fixed[row]


def test_norms_radii_and_missing_clips_survive(tmp_path):
    for norm, eps, clip in (
        (2.0, 0.01, None),
        (1.0, np.array([0.01, 0.0, 0.02, 0.01]), (np.zeros(4), np.ones(4))),
        (float("inf"), 0.0, (0.0, 1.0)),
    ):
        claim = made(eps=eps, norm=norm, clip=clip)
        write_certificate(tmp_path / "c.npz", claim)
        again = read_certificate(tmp_path / "c.npz")
        np.testing.assert_array_equal(again.eps, eps)
        assert again.norm == norm
        assert (again.clip is None) == (clip is None)
        assert check_certificate(fn, MODEL, again).status == "confirmed"


def test_a_linear_specification_is_checked_too(tmp_path, claim):
    linear = replace(
        claim,
        label=None,
        coeffs=np.array([[1.0, -1.0, 0.5]]),
        offset=np.array([2.0]),
        bound=np.array([-100.0]),
    )
    write_certificate(tmp_path / "c.npz", linear)
    verdict = check_certificate(fn, MODEL, read_certificate(tmp_path / "c.npz"))
    assert verdict.status == "confirmed", "a claim of less than what is proven, negative or not, holds"
    assert verdict.bound is not None
    high = replace(linear, bound=verdict.bound + 1e-9)
    assert check_certificate(fn, MODEL, high).status == "not confirmed"


def test_lies_are_not_confirmed(claim):
    assert check_certificate(fn, MODEL, claim).status == "confirmed"
    assert check_certificate(fn, "0" * 64, claim).status == "other model"
    more = replace(claim, bound=claim.bound * 1.001)
    wider = replace(claim, eps=0.5)
    other = replace(claim, label=(LABEL + 1) % 3)
    negative = replace(other, bound=np.full(2, -1e9))
    for lie in (more, wider, other, negative):
        verdict = check_certificate(fn, MODEL, lie)
        assert verdict.status == "not confirmed"
        assert verdict.bound is not None


def test_nothing_is_written_for_what_cannot_be_proven():
    ball = {"center": CENTER, "eps": 0.5, "norm": float("inf"), "clip": None}
    assert make_certificate(fn, model=MODEL, label=LABEL, method=jc.crown(), **ball) is None


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_a_truncated_file_is_one_sentence(tmp_path, claim, keep):
    path = tmp_path / "c.npz"
    write_certificate(path, claim)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CertificateError, match=r"c\.npz is no certificate, or a damaged one"):
        read_certificate(path)


def test_a_flipped_byte_never_gives_another_certificate(tmp_path, claim):
    """Every 7th byte flipped: refused, or what was written (bytes of the archive that mean nothing)."""
    path = tmp_path / "c.npz"
    write_certificate(path, claim)
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(bytes(damaged))
        try:
            found = read_certificate(path)
        except CertificateError:
            refused += 1
            continue
        assert (found.model, found.eps, found.norm, found.label) == (MODEL, 0.01, float("inf"), LABEL)
        np.testing.assert_array_equal(found.center, CENTER)
        np.testing.assert_array_equal(found.bound, claim.bound)
    assert refused > len(whole) / 7 / 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "something"}, "not a file of jaxcert certificates"),
        ({"version": 2}, "format version 2"),
        ({"model": "abc"}, "no sha256"),
        ({"label": -1}, "label that is not an integer"),
        ({"label": True}, "label that is not an integer"),
        ({"label": None}, "either a label or coefficients"),
        ({"norm": "3"}, "norm other than 1, 2 and inf"),
        ({"norm": "round"}, "lacks a part"),
        ({"method": {"engine": "magic"}}, "method 'magic' is unknown"),
        ({"method": {"engine": "crown", "intermediate": "same", "slope": "steep"}}, "lacks a part"),
        ({"method": {"engine": "crown"}}, "lacks a part"),
        ({"center": None}, "lacks a part"),
        ({"bound": None}, "lacks a part"),
        ({"center": np.full(4, np.nan)}, "centre that is not"),
        ({"center": np.full(4, 2.0)}, "clip that does not hold the centre"),
        ({"eps": np.array(-1.0)}, "eps that is not finite"),
        ({"eps": np.ones(3)}, "eps that is not finite"),
        ({"bound": np.array([np.inf, 1.0])}, "bound that is not"),
        ({"bound": np.array("text")}, "bound that is not"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_contradictions_are_one_sentence(tmp_path, claim, changes, reason):
    path = tmp_path / "c.npz"
    write_certificate(path, claim)
    rewritten(path, **changes)
    with pytest.raises(CertificateError, match=reason):
        read_certificate(path)


def test_a_certificate_of_another_shape_is_one_sentence(claim):
    for wrong in (
        replace(claim, center=np.full(5, 0.5)),
        replace(claim, label=7),
        replace(claim, bound=np.ones(4)),
        replace(claim, method=jc.crown(slope=[np.ones(5)])),
        replace(claim, method=jc.crown(slope=())),
        replace(claim, method=jc.bounds.Crown(PerRow({(-1, 1, 0): np.ones((5, 6))}), jc.crown())),
    ):
        with pytest.raises(CertificateError):
            check_certificate(fn, MODEL, wrong)


def test_no_file_and_no_pickle(tmp_path):
    with pytest.raises(CertificateError, match="There is no certificate"):
        read_certificate(tmp_path / "nothing.npz")
    np.savez(tmp_path / "pickle.npz", about=np.array([{"format": "x"}], dtype=object))
    with pytest.raises(CertificateError, match="damaged"):
        read_certificate(tmp_path / "pickle.npz")
    np.save(tmp_path / "plain.npy", np.ones(3))
    with pytest.raises(CertificateError, match="damaged"):
        read_certificate(tmp_path / "plain.npy")


def test_the_hash_sees_every_change():
    found = {
        model_hash(PARAMS, {"name": "tiny"}),
        model_hash(PARAMS, {"name": "tiny "}),
        model_hash({**PARAMS, "w1": np.nextafter(PARAMS["w1"], 9)}, {"name": "tiny"}),
        model_hash({**PARAMS, "w1": PARAMS["w1"].astype(np.float32)}, {"name": "tiny"}),
        model_hash({**PARAMS, "w1": PARAMS["w1"].reshape(6, 4)}, {"name": "tiny"}),
        model_hash({"w1": PARAMS["w2"], "w2": PARAMS["w1"]}, {"name": "tiny"}),
        model_hash({"w3": PARAMS["w1"], "w2": PARAMS["w2"]}, {"name": "tiny"}),
    }
    assert len(found) == 7
    swapped = {name: value.astype(value.dtype.newbyteorder(">")) for name, value in PARAMS.items()}
    assert model_hash(swapped, {"name": "tiny"}) == MODEL
