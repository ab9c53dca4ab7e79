"""The whole evaluation of one network: clean once, attacked and certified at every eps, one report each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from jaxcert.attacks.autoattack import AutoAttack
from jaxcert.devices import ONE_DEVICE, Devices
from jaxcert.errors import ConfigError
from jaxcert.evaluate.autoattack import autoattack
from jaxcert.evaluate.cascade import cascade
from jaxcert.evaluate.measures import Apply, attacked, certified, check_eps, clean
from jaxcert.evaluate.report import Report, make_report
from jaxcert.evaluate.results import Record, Results
from jaxcert.evaluate.sweep import Images
from jaxcert.evaluate.threat import ThreatModel


@dataclass(frozen=True)
class Protocol:
    """What to measure, and how.

    Attributes:
      eps: radii in input units, one report for each; `norm` is the p of the ball.
      attack: called as in `measures.attacked`, or `None`; an `AutoAttack` runs stage by stage, as in
        `evaluate.autoattack`. `attack_name` describes it in results.
      methods: bounding methods by name.
      cascaded: run `methods` in their order, each only on what the ones before left uncertified.
      seed: of the attack's starting points.
      batch_size: images per batch of clean passes and attacks; `certify_batch_size` of bounds, which
        need more memory.
    """

    eps: tuple[float, ...]
    norm: float = float("inf")
    attack: Any = None
    attack_name: str = ""
    methods: Mapping[str, Any] = field(default_factory=dict)
    cascaded: bool = False
    seed: int = 0
    batch_size: int = 256
    certify_batch_size: int = 8


@dataclass(frozen=True)
class Subject:
    """The network and the images that are evaluated.

    Attributes:
      name: of the network, for tables and progress bars.
      apply, variables: `apply(variables, x) -> logits` of one image.
      images: a split (`labels`, `pixels(indices)`).
      identity: plain JSON values that tell this network and these images from others; results on disk
        are taken up again only when they agree.
    """

    name: str
    apply: Apply
    variables: Any
    images: Images
    identity: Mapping[str, Any] = field(default_factory=dict)


def evaluate(
    subject: Subject,
    protocol: Protocol,
    folder: Path,
    *,
    indices: Sequence[int] | None = None,
    devices: Devices = ONE_DEVICE,
) -> list[Report]:
    """Reports in the order of `protocol.eps`; per-image results are JSON lines in `folder`.

    Killed and called again, it goes on from the last batch written. `devices` share every batch; results do
    not depend on them, so an evaluation may go on with others. Of several processes the first one writes.

    Raises:
      ConfigError: no eps is given.  InconsistentReportError: results contradict each other.
      Others: see `measures`.
    """
    if not protocol.eps:
        raise ConfigError("An evaluation needs at least one eps.")
    for eps in protocol.eps:
        check_eps(eps)
    before = clean(
        subject.apply,
        subject.variables,
        subject.images,
        indices=indices,
        batch_size=protocol.batch_size,
        results=Results(folder / "clean.jsonl", dict(subject.identity)),
        progress=f"{subject.name}: clean",
        devices=devices,
    )
    return [_at_eps(subject, protocol, folder, before, eps, indices, devices) for eps in protocol.eps]


def _at_eps(
    subject: Subject,
    protocol: Protocol,
    folder: Path,
    before: Sequence[Record],
    eps: float,
    indices: Sequence[int] | None,
    devices: Devices,
) -> Report:
    threat = ThreatModel(eps, protocol.norm)
    where = {**subject.identity, "eps": eps, "norm": f"{protocol.norm:g}"}
    return make_report(
        subject.name,
        eps=eps,
        norm=protocol.norm,
        clean=before,
        attacked=_attacked_at(subject, protocol, folder, threat, where, before, devices),
        certified=_certified_at(subject, protocol, folder, threat, where, indices, devices),
        settings={
            **where,
            "attack": protocol.attack_name,
            "seed": protocol.seed,
            "cascaded": protocol.cascaded,
        },
    )


def _attacked_at(
    subject: Subject,
    protocol: Protocol,
    folder: Path,
    threat: ThreatModel,
    where: Mapping[str, Any],
    before: Sequence[Record],
    devices: Devices,
) -> Sequence[Record] | None:
    if protocol.attack is None:
        return None
    common = {
        "key": jax.random.key(protocol.seed),
        "indices": [record.index for record in before],
        "batch_size": protocol.batch_size,
        "progress": f"{subject.name}: {protocol.attack_name} at {where['eps']:g}",
        "devices": devices,
    }
    of_subject = (subject.apply, subject.variables, subject.images, threat, protocol.attack)
    if isinstance(protocol.attack, AutoAttack):
        stages = folder / f"autoattack-{_ball(where)}"
        return autoattack(
            *of_subject, folder=stages, settings=subject.identity, before=before, **common
        ).records
    described = {**where, "attack": protocol.attack_name, "seed": protocol.seed}
    results = Results(folder / f"attacked-{_ball(where)}.jsonl", described)
    return attacked(*of_subject, results=results, **common)


def _certified_at(
    subject: Subject,
    protocol: Protocol,
    folder: Path,
    threat: ThreatModel,
    where: Mapping[str, Any],
    indices: Sequence[int] | None,
    devices: Devices,
) -> dict[str, list[Record]]:
    kind = "cascade" if protocol.cascaded else "certified"
    eps = where["eps"]

    def results(method: str) -> Results:
        stages = {"stages": list(protocol.methods)} if protocol.cascaded else {}
        return Results(
            folder / f"{kind}-{method}-{_ball(where)}.jsonl", {**where, "method": method, **stages}
        )

    if protocol.cascaded and protocol.methods:
        return cascade(
            subject.apply,
            subject.variables,
            subject.images,
            threat,
            protocol.methods,
            indices=indices,
            batch_size=protocol.certify_batch_size,
            results=results,
            progress=f"{subject.name}: certified at {eps:g} by ",
            devices=devices,
        )
    return {
        name: certified(
            subject.apply,
            subject.variables,
            subject.images,
            threat,
            method,
            indices=indices,
            batch_size=protocol.certify_batch_size,
            results=results(name),
            progress=f"{subject.name}: certified at {eps:g} by {name}",
            devices=devices,
        )
        for name, method in protocol.methods.items()
    }


def _ball(where: Mapping[str, Any]) -> str:
    """The ball in a file's name, such as `linf-eps0.1`."""
    return f"l{where['norm']}-eps{float(where['eps'])!r}"
