"""Cheap methods first, tight ones only on the images that are left."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jaxcert.devices import ONE_DEVICE, Devices
from jaxcert.errors import InvalidInputError
from jaxcert.evaluate.measures import Apply, certified
from jaxcert.evaluate.results import Record, Results
from jaxcert.evaluate.sweep import Images
from jaxcert.evaluate.threat import ThreatModel


def cascade(
    apply: Apply,
    variables: Any,
    images: Images,
    threat: ThreatModel,
    methods: Mapping[str, Any],
    *,
    indices: Sequence[int] | None = None,
    batch_size: int = 8,
    results: Callable[[str], Results] | None = None,
    progress: str = "",
    devices: Devices = ONE_DEVICE,
) -> dict[str, list[Record]]:
    """Certified records after each of `methods`, in their order (sound: each record was certified by one).

    The first method sees all images; each later one only those that are classified correctly and not
    yet certified, so the number of certified images never falls from one method to the next.

    Args:
      apply: `apply(variables, x) -> logits [K]` for one image.
      variables: what `apply` takes first.
      images: a split (`labels`, `pixels(indices)`).
      threat: the region around every image.
      methods: name -> bounding method, cheapest first.
      indices: which images, all by default.
      batch_size: images per compiled batch.
      results: the results file of a method, by its name.
      progress: put before the name of each method on its progress bar.
      devices: those that share every batch.

    Raises:
      InvalidInputError: no method is given.  Others: see `measures.certified`.
    """
    if not methods:
        raise InvalidInputError("A cascade needs at least one bounding method, got none.")
    stages: dict[str, list[Record]] = {}
    so_far: list[Record] | None = None
    for name, method in methods.items():
        left = indices if so_far is None else [r.index for r in so_far if r.correct and not r.certified]
        new = certified(
            apply,
            variables,
            images,
            threat,
            method,
            indices=left,
            batch_size=batch_size,
            results=results(name) if results else None,
            progress=f"{progress}{name}",
            devices=devices,
        )
        so_far = new if so_far is None else _improved(so_far, new)
        stages[name] = so_far
    return stages


def _improved(before: Sequence[Record], later: Sequence[Record]) -> list[Record]:
    """`before` with the verdicts of `later`; time adds up."""
    tighter = {record.index: record for record in later}
    return [
        replace(tighter[old.index], seconds=old.seconds + tighter[old.index].seconds)
        if old.index in tighter
        else old
        for old in before
    ]
