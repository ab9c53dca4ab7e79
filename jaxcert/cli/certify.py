"""`jaxcert certify RUN`: write certificates of test images that anyone can check again."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from jaxcert.cli.choices import BoundName, NormName, bounding_methods
from jaxcert.cli.machines import Machines, assembled
from jaxcert.cli.network import DoubleNetwork, of_variables
from jaxcert.cli.parse import parse
from jaxcert.cli.runs import OpenedRun, first_images, open_run
from jaxcert.errors import CheckpointError
from jaxcert.evaluate import Record, ThreatModel
from jaxcert.evaluate.measures import certified
from jaxcert.evaluate.results import Results
from jaxcert.formats import Certificate, make_certificate, read_certificate, write_certificate
from jaxcert.train import NORMS
from jaxcert.train.run_files import read_record

CLIP = (0.0, 1.0)


@dataclass(frozen=True)
class Certify:
    """Certify the test images of a run and write one certificate file for each that is certified.

    A method finds the images in float32; the certificate holds what a rigorous float64 evaluation of the
    same method proves, rounding included. The same command goes on where an interrupted one stopped.
    `jaxcert check` checks the files.
    """

    run: tyro.conf.Positional[Path]
    """Folder of the run (what `jaxcert train` wrote)."""
    eps: float | None = None
    """Radius, in input units (pixels in [0, 1]); None: the eps of the run."""
    norm: NormName | None = None
    """Norm of the ball; None: the norm of the run."""
    method: BoundName = "crown"
    """Bounding method."""
    count: int | None = 100
    """Certify only this many test images, the first ones; None: all."""
    certify_batch_size: int = 8
    """Images per batch of the search in float32."""
    data_dir: Path | None = None
    """Folder of the data set's files; None: that of the run, else JAXCERT_DATA."""
    out: Path | None = None
    """Folder of the certificates; None: RUN/certificates."""
    mesh: str | None = None
    """Share every batch of the search out among devices, such as data=8; None: one device."""


def main(argv: Sequence[str]) -> None:
    """Certifies, writes the files and prints how many there are."""
    options = parse(Certify, argv, command="certify")
    run = open_run(options.run, options.data_dir)
    out = options.out or options.run / "certificates"
    eps = run.config.eps if options.eps is None else options.eps
    norm = options.norm or run.config.norm
    network = of_variables(run.config, read_record(options.run), run.apply.model, run.variables)
    records = _found(run, network, options, eps, norm, out)
    good = [record for record in records if record.certified]
    method = bounding_methods([options.method])[options.method]
    written = sum(
        _write(run, network, method, record, eps, NORMS[norm], out)
        for record in tqdm(good, desc="rigorous", unit="image", disable=None)
    )
    print(
        f"{options.method} at eps {eps:g} ({norm}): {len(good)} of {len(records)} images certified in "
        f"float32, {written} rigorously"
    )
    print(f"written: {out}")


def _found(
    run: OpenedRun, network: DoubleNetwork, options: Certify, eps: float, norm: NormName, out: Path
) -> list[Record]:
    """Which images the method certifies in float32; on disk, so that they are found once."""
    settings = {"model": network.model, "eps": eps, "norm": norm, "method": options.method}
    return certified(
        run.apply,
        run.variables,
        run.dataset.test,
        ThreatModel(eps, NORMS[norm], CLIP),
        bounding_methods([options.method])[options.method],
        indices=first_images(len(run.dataset.test), options.count),
        batch_size=options.certify_batch_size,
        results=Results(out / "found.jsonl", settings),
        progress=f"{options.method} at {eps:g}",
        devices=assembled(Machines(options.mesh)),
    )


def _write(
    run: OpenedRun,
    network: DoubleNetwork,
    method: Any,
    record: Record,
    eps: float,
    norm: float,
    out: Path,
) -> bool:
    """Whether the image has its certificate now; a file from before is taken if it is the same claim."""
    path = out / f"{record.index:06d}.npz"
    if path.exists():
        _require_same(read_certificate(path), path, network.model, eps, norm)
        return True
    claim = make_certificate(
        network.fn,
        model=network.model,
        center=run.dataset.test.pixels(np.array([record.index]))[0],
        eps=eps,
        norm=norm,
        clip=CLIP,
        label=record.label,
        method=method,
        notes={"data set": run.dataset.name, "split": "test", "index": record.index},
    )
    if claim is not None:
        write_certificate(path, claim)
    return claim is not None


def _require_same(found: Certificate, path: Path, model: str, eps: float, norm: float) -> None:
    if (found.model, found.eps, found.norm) != (model, eps, norm):
        raise CheckpointError(
            f"{os.fspath(path)} is a certificate of another network or ball: write elsewhere with --out."
        )
