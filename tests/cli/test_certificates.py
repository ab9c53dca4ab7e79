"""certify and check on a small network: files that are confirmed, and everything that is not."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from jaxcert.formats import read_certificate, write_certificate


@pytest.fixture(scope="module")
def certificates(tiny_run, tmp_path_factory):
    from jaxcert.cli.main import main

    out = tmp_path_factory.mktemp("certificates")
    assert main(["certify", str(tiny_run), "--eps", "0.01", "--count", "30", "--out", str(out)]) == 0
    return out


@pytest.fixture
def own(certificates, tmp_path):
    return shutil.copytree(certificates, tmp_path / "own")


def files(folder):
    return sorted(folder.glob("*.npz"))


def test_what_certify_writes_check_confirms(jaxcert, tiny_run, certificates):
    paths = files(certificates)
    assert len(paths) >= 2
    answer = jaxcert("check", certificates, "--run", tiny_run)
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert lines[-1] == f"{len(paths)} of {len(paths)} certificates confirmed"
    assert all(": confirmed: label " in line and "l_inf, eps 0.01" in line for line in lines[:-1])
    first = read_certificate(paths[0])
    assert (first.eps, first.norm, first.notes["split"]) == (0.01, float("inf"), "test")
    assert np.all(first.bound > 0)


def test_certify_goes_on_where_it_stopped(jaxcert, tiny_run, own):
    paths = files(own)
    kept, lost = paths[0].stat().st_mtime_ns, paths[1]
    claimed = read_certificate(lost).bound
    lost.unlink()
    words = ("--eps", "0.01", "--count", "30", "--out", own)
    answer = jaxcert("certify", tiny_run, *words)
    assert answer.status == 0
    assert f"{len(paths)} of 30 images certified in float32, {len(paths)} rigorously" in answer.out
    assert paths[0].stat().st_mtime_ns == kept
    np.testing.assert_array_equal(read_certificate(lost).bound, claimed)
    assert jaxcert("certify", tiny_run, *words[2:], "--eps", "0.02").status == 2


def test_a_claim_that_is_not_proven_gives_1(jaxcert, tiny_run, own):
    path = files(own)[0]
    claim = read_certificate(path)
    write_certificate(path, replace(claim, eps=0.3))
    answer = jaxcert("check", path, "--run", tiny_run)
    assert answer.status == 1
    assert f"{path}: not confirmed: label {claim.label}, l_inf, eps 0.3, least margin proven -" in answer.out
    assert "0 of 1 certificate confirmed" in answer.out


def test_another_network_gives_1(jaxcert, tiny_run, own):
    path = files(own)[0]
    write_certificate(path, replace(read_certificate(path), model="0" * 64))
    answer = jaxcert("check", path, "--run", tiny_run)
    assert answer.status == 1
    assert "model hash differs" in answer.out


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_bad_files_give_2(jaxcert, tiny_run, own, damage):
    path = files(own)[0]
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    answer = jaxcert("check", path, "--run", tiny_run)
    assert answer.status == 2
    assert str(path) in answer.mistake


def test_an_empty_folder_and_a_missing_run_give_2(jaxcert, own, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no certificates" in jaxcert("check", tmp_path / "empty", "--run", own).mistake
    answer = jaxcert("check", files(own)[0], "--run", tmp_path / "nothing")
    assert answer.status == 2
    assert "no run" in answer.mistake
