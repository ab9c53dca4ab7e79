"""Clean, attacked and certified error on whole sets.

Predictions are computed at the highest precision, at the image and at every adversarial point,
so that on a GPU too clean, attacked and certified results can be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcert.attacks import Expectation
from jaxcert.bounds import is_certified, margins
from jaxcert.chunking import map_examples
from jaxcert.devices import ONE_DEVICE, Devices
from jaxcert.errors import DataError, InvalidInputError
from jaxcert.evaluate.network import Apply, attackable, logits_at
from jaxcert.evaluate.results import Record, Results, finite
from jaxcert.evaluate.sweep import Batch, Images, check_labels, sweep
from jaxcert.evaluate.threat import ThreatModel
from jaxcert.regions.contain import contains, is_valid

# How far, in input units, rounding may carry an adversarial point out of its region.
TOLERANCE = 1e-6

_REPLAY = 2**31 - 1
"""Seed of the draws by which a randomised network is judged; attacks see others."""

Keep = Callable[[Batch, Sequence[Record], np.ndarray, np.ndarray], None]


def clean(
    apply: Apply,
    variables: Any,
    images: Images,
    *,
    indices: Sequence[int] | None = None,
    batch_size: int = 256,
    results: Results | None = None,
    progress: str = "clean",
    devices: Devices = ONE_DEVICE,
) -> list[Record]:
    """Predictions on unperturbed images, one `Record` per image (exact up to rounding).

    Args:
      apply: `apply(variables, x) -> logits [K]` for ONE image `x`; compiled once per function object. Of an
        `expectation` over `fn(variables, x, key)` the prediction of its draws counts.
      images: a split (`labels`, `pixels(indices)`), pixels in the network's input units.
      variables: what `apply` takes first.
      indices: which images, all by default.
      batch_size: images per compiled batch.
      results: file to write to and to resume from.
      progress: name of the progress bar.
      devices: those that share every batch; the batch size is of all together.

    Raises:
      DataError: a label has no logit.  CheckpointError: `results` belongs to other settings.
    """

    def measure(batch: Batch) -> list[Record]:
        prediction, margin = devices.fetch(_predict(apply, copies, *_placed(batch, devices)))
        return _records(batch, prediction, margin, margin)

    _check(apply, variables, images)
    copies = devices.copies(variables)
    return sweep(
        measure,
        images,
        indices=indices,
        batch_size=batch_size,
        results=results,
        progress=progress,
        devices=devices,
    )


def attacked(
    apply: Apply,
    variables: Any,
    images: Images,
    threat: ThreatModel,
    attack: Any,
    *,
    key: jax.Array,
    indices: Sequence[int] | None = None,
    batch_size: int = 256,
    results: Results | None = None,
    progress: str = "attacked",
    status: Callable[[Sequence[Record]], str] | None = None,
    shrink: bool = False,
    keep: Keep | None = None,
    devices: Devices = ONE_DEVICE,
) -> list[Record]:
    """Predictions on the worst points that `attack` finds: a lower bound of the robust error.

    `attack(fn, region, label, key=key)` returns an `AttackResult`; its point is replayed through the
    network here, and its own word for success is not used. Misclassified images count as attacked
    with success. Every image has its own key (`key` folded with its index), so results depend neither on
    the batch size nor on interruptions. `keep` gets every batch with its records, points and the classes
    seen there, before the records are written. `status` and `shrink`: see `sweep`.

    Raises:
      InvalidInputError: eps is negative or not finite, or the attack returned a point outside the region.
      DataError, CheckpointError: see `clean`.
    """

    def measure(batch: Batch) -> list[Record]:
        records, points, seen = _attack_batch(apply, copies, threat, attack, batch, key, devices)
        if keep is not None:
            keep(batch, records, points, seen)
        return records

    _check(apply, variables, images)
    copies = devices.copies(variables)
    check_eps(threat.eps)
    return sweep(
        measure,
        images,
        indices=indices,
        batch_size=batch_size,
        results=results,
        progress=progress,
        status=status,
        shrink=shrink,
        devices=devices,
    )


def certified(
    apply: Apply,
    variables: Any,
    images: Images,
    threat: ThreatModel,
    method: Any,
    *,
    indices: Sequence[int] | None = None,
    batch_size: int = 8,
    results: Results | None = None,
    progress: str = "certified",
    devices: Devices = ONE_DEVICE,
) -> list[Record]:
    """Which images `method` certifies at `threat`: an upper bound of the robust error (sound).

    An image is certified when the lower bounds of all its margins are positive and finite.
    `method` is a bounding method such as `jaxcert.bounds.crown()`. Cost: the method's; memory: that of as
    many of the `batch_size` images at once as `jaxcert.map_examples` takes (on several devices, of all).

    Raises:
      InvalidInputError: eps is negative or not finite.  DataError, CheckpointError: see `clean`.

    >>> import jax.numpy as jnp, numpy as np
    >>> from jaxcert.bounds import ibp
    >>> from jaxcert.data import make_split
    >>> split = make_split(np.full((3, 1, 2, 1), 0.5, np.float32), np.array([0, 0, 1]))
    >>> apply = lambda weights, x: weights @ x.reshape(-1)
    >>> weights = jnp.array([[2.0, 0.0], [0.0, 1.0]])
    >>> records = certified(apply, weights, split, ThreatModel(0.1), ibp())
    >>> [record.certified for record in records]
    [True, True, False]
    """

    def measure(batch: Batch) -> list[Record]:
        prediction, clean_margin, verdict, margin = devices.fetch(
            _certify(apply, copies, method, threat, *_placed(batch, devices), over=over)
        )
        records = _records(batch, prediction, clean_margin, margin)
        return [
            replace(record, certified=bool(proved)) for record, proved in zip(records, verdict, strict=True)
        ]

    if isinstance(apply, Expectation):
        raise InvalidInputError(
            "Bounds hold for one network, not for the expectation over a randomised one: certify a draw."
        )
    _check(apply, variables, images)
    copies = devices.copies(variables)
    check_eps(threat.eps)
    over = _over(devices)
    return sweep(
        measure,
        images,
        indices=indices,
        batch_size=batch_size,
        results=results,
        progress=progress,
        devices=devices,
    )


def adversarial_images(
    apply: Apply,
    variables: Any,
    images: Images,
    threat: ThreatModel,
    attack: Any,
    *,
    key: jax.Array,
    indices: Sequence[int] | None = None,
    batch_size: int = 256,
    progress: str = "attacked",
    devices: Devices = ONE_DEVICE,
) -> tuple[list[Record], np.ndarray, np.ndarray]:
    """The records of `attacked`, the points found `[N, H, W, C]`, and the classes seen there `[N]`.

    Nothing is written and nothing resumed. Errors: see `attacked`.
    """
    points, classes = [], []

    def keep(batch: Batch, records: Sequence[Record], found: np.ndarray, seen: np.ndarray) -> None:
        points.append(found[: batch.count])
        classes.append(seen[: batch.count])

    records = attacked(
        apply,
        variables,
        images,
        threat,
        attack,
        key=key,
        indices=indices,
        batch_size=batch_size,
        progress=progress,
        keep=keep,
        devices=devices,
    )
    return records, np.concatenate(points), np.concatenate(classes)


def check_eps(eps: Any) -> None:
    """Raises InvalidInputError unless eps is a finite number >= 0."""
    value = np.asarray(eps)
    if not (np.isfinite(value) & (value >= 0)).all():
        raise InvalidInputError(f"eps must be a finite number >= 0 in input units, got {eps}.")


def _placed(batch: Batch, devices: Devices) -> tuple[Any, Any, Any]:
    return batch.pixels, devices.spread(batch.labels), devices.spread(batch.indices)


def _attack_batch(
    apply: Apply,
    variables: Any,
    threat: ThreatModel,
    attack: Any,
    batch: Batch,
    key: jax.Array,
    devices: Devices,
) -> tuple[list[Record], np.ndarray, np.ndarray]:
    # A label that does not exist is an error at once, so that no step is made for images that only fill up.
    labels = np.where(np.arange(len(batch.labels)) < batch.count, batch.labels, -1).astype(np.int32)
    placed = (*_placed(replace(batch, labels=labels), devices), devices.copies(key))
    points, inside, valid, before, clean_margin, after, margin = devices.fetch(
        _attack(apply, variables, attack, threat, *placed, over=_over(devices))
    )
    _check_valid(batch, valid)
    _check_inside(batch, inside)
    survived = (after == batch.labels) & np.isfinite(margin)
    records = [
        replace(record, attacked_correct=bool(record.correct and kept))
        for record, kept in zip(_records(batch, before, clean_margin, margin), survived, strict=True)
    ]
    return records, points, after


def _where_not(batch: Batch, flags: np.ndarray) -> np.ndarray:
    """The real images of the batch for which the flag does not hold."""
    return batch.indices[: batch.count][~flags[: batch.count]]


def _check_valid(batch: Batch, valid: np.ndarray) -> None:
    broken = _where_not(batch, valid)
    if broken.size:
        raise DataError(
            f"Image {broken[0]} has pixels that are not finite or outside the range of the threat model, so "
            f"there is no ball around it: correct the image or the range."
        )


def _check_inside(batch: Batch, inside: np.ndarray) -> None:
    outside = _where_not(batch, inside)
    if outside.size:
        raise InvalidInputError(
            f"The attack left the region of image {outside[0]}, so its result means nothing: "
            f"repair the attack."
        )


def _check(apply: Apply, variables: Any, images: Images) -> None:
    example = np.asarray(images.pixels(np.zeros(1, np.int32)))[0]
    image = jax.ShapeDtypeStruct(example.shape, example.dtype)
    logits = jax.eval_shape(partial(logits_at, apply), variables, image, jax.random.key(0))
    if len(logits.shape) != 1:
        raise InvalidInputError(
            f"The network must return one vector of logits for one image, got shape {logits.shape} for an "
            f"image of shape {example.shape}."
        )
    check_labels(images, logits.shape[0])


def _records(batch: Batch, prediction: Any, clean_margin: Any, margin: Any) -> list[Record]:
    correct = (np.asarray(prediction) == batch.labels) & np.isfinite(np.asarray(clean_margin))
    columns = (batch.indices, batch.labels, np.asarray(prediction), correct, np.asarray(margin))
    return [
        Record(int(index), int(label), int(guess), bool(right), finite(float(value)))
        for index, label, guess, right, value in zip(*columns, strict=True)
    ]


def _logit_margin(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Smallest `logit[label] - logit[j]`, j != label; NaN when any logit is NaN or infinite."""
    is_label = jnp.arange(logits.shape[0]) == label
    others = jnp.max(jnp.where(is_label, -jnp.inf, logits))
    margin = logits[label] - others
    return jnp.where(jnp.isfinite(logits).all(), margin, jnp.nan)


def _look(
    apply: Apply, variables: Any, xs: jax.Array, labels: jax.Array, indices: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def logits_of(x, index):
        found = logits_at(apply, variables, x, jax.random.fold_in(jax.random.key(_REPLAY), index))
        return jnp.where(jnp.any(jnp.isnan(x)), jnp.nan, found)  # also where the network passes NaN over

    with jax.default_matmul_precision("highest"):
        logits = jax.vmap(logits_of)(xs, indices)
    return jnp.argmax(logits, axis=-1), jax.vmap(_logit_margin)(logits, labels)


@partial(jax.jit, static_argnames="apply")
def _predict(apply, variables, xs, labels, indices):
    return _look(apply, variables, xs, labels, indices)


@partial(jax.jit, static_argnames=("apply", "over"))
def _attack(apply, variables, attack, threat, xs, labels, indices, key, over):
    def worst(x, label, index):
        region = threat.region(x)
        found = attack(attackable(apply, variables), region, label, key=jax.random.fold_in(key, index))
        # A NaN point needs no refusal: it counts as an error of the network.
        inside = contains(region, found.x, TOLERANCE) | jnp.isnan(found.x).any()
        return found.x, inside, is_valid(region)

    points, inside, valid = over(worst, xs, labels, indices)
    before = _look(apply, variables, xs, labels, indices)
    return points, inside, valid, *before, *_look(apply, variables, points, labels, indices)


def _over(devices: Devices) -> Callable[..., Any]:
    # Several devices have an image each in every step, and chunks of images would leave most of them idle.
    return map_examples if devices.count == 1 else _at_once


def _at_once(f: Callable[..., Any], *batch: Any) -> Any:
    return jax.vmap(f)(*batch)


@partial(jax.jit, static_argnames=("apply", "over"))
def _certify(apply, variables, method, threat, xs, labels, indices, over):
    def lower_bounds(x, label):
        return margins(method, lambda z: apply(variables, z), threat.region(x), label)

    bounds = over(lower_bounds, xs, labels)
    return *_look(apply, variables, xs, labels, indices), is_certified(bounds), jnp.min(bounds, axis=-1)
