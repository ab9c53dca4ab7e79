"""`jaxcert check CERTIFICATE... --run RUN`: evaluate certificates again, rigorously."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from jaxcert.cli.network import double_network
from jaxcert.cli.parse import parse
from jaxcert.cli.text import amount
from jaxcert.errors import CertificateError
from jaxcert.formats import Certificate, Verdict, check_certificate, read_certificate

NOT_CONFIRMED = 1


@dataclass(frozen=True)
class Check:
    """Check certificates: is every bound that they claim proven again, in float64, rounding included?

    Nothing in a certificate is trusted but the ball, the label and the method that it names. Exit status 0
    if all are confirmed, 1 if some are not, 2 if a file cannot be read.
    """

    certificates: tyro.conf.Positional[tuple[Path, ...]]
    """Certificate files, or folders of them (what `jaxcert certify` wrote)."""
    run: Path
    """Folder of the run whose network they are about."""


def main(argv: Sequence[str]) -> int:
    """Checks, prints one line per certificate and a sum, and returns the exit status."""
    options = parse(Check, argv, command="check")
    paths = [path for given in options.certificates for path in _files(given)]
    claims = {path: read_certificate(path) for path in paths}
    network = double_network(options.run)
    confirmed = 0
    for path, claim in tqdm(claims.items(), desc="check", unit="certificate", disable=None):
        verdict = check_certificate(network.fn, network.model, claim)
        confirmed += verdict.status == "confirmed"
        tqdm.write(f"{path}: {_sentence(claim, verdict)}")
    print(f"{confirmed} of {amount(len(claims), 'certificate')} confirmed")
    return 0 if confirmed == len(claims) else NOT_CONFIRMED


def _files(given: Path) -> Iterable[Path]:
    if not given.is_dir():
        return [given]
    found = sorted(given.glob("*.npz"))
    if not found:
        raise CertificateError(f"There are no certificates in {given}: name their files or their folder.")
    return found


def _sentence(claim: Certificate, verdict: Verdict) -> str:
    ball = f"l_{claim.norm:g}, eps {np.max(claim.eps):g}"
    about = f"linear specification, {ball}" if claim.label is None else f"label {claim.label}, {ball}"
    if verdict.bound is None:
        return f"model hash differs ({about})"
    proven, claimed = f"{np.min(verdict.bound):.6g}", f"{np.min(claim.bound):.6g}"
    return f"{verdict.status}: {about}, least margin proven {proven}, claimed {claimed}"
