"""A certificate and its file.

A file is a numpy archive (`.npz`) without pickles. `about` holds JSON: format, version, library,
model hash, norm, label, method, notes. Arrays: `center`, `eps`, optionally `clip_low` and `clip_high`,
`coeffs` and `offset` (instead of a label), `bound`, and the slopes, one array per key.
"""

import io
import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxcert import __version__
from jaxcert.bounds import Crown, Ibp, crown, ibp
from jaxcert.errors import CertificateError
from jaxcert.relax import slopes
from jaxcert.relax.slopes import Given, PerRow, Slope

# What numpy raises on archives that are none, or cut, or changed.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
FORMAT, VERSION = "jaxcert-certificate", 1
_RULES: Mapping[str, Slope] = MappingProxyType(
    {
        "adaptive": slopes.adaptive,
        "parallel": slopes.parallel,
        "zero": slopes.zero,
        "one": slopes.one,
    }
)


@dataclass(frozen=True, eq=False)
class Certificate:
    """The claim that `coeffs @ fn(x) + offset >= bound` for every x of a ball, and how to check it.

    Attributes:
      model: hash of the network, see `model_hash`.
      center: the image, as stored; its numbers are exact.
      eps: radius, a number or an array shaped like the image; `norm` is the p of the ball.
      clip: lowest and highest input, numbers or arrays shaped like the image, or None.
      label: the class whose margins over all others, in order, are claimed; None with `coeffs` and
        `offset`, float64 `[S, K]` and `[S]`, which then say what is bounded.
      bound: float64 `[S]`, the claimed lower bounds; a label is certified by positive ones.
      method: what finds the bound again: `ibp()` or a `crown(...)`, with its slopes.
      library: version of jaxcert that wrote it.
      notes: plain JSON values for people, such as the image's index; nothing rests on them.
    """

    model: str
    center: np.ndarray
    eps: float | np.ndarray
    norm: float
    clip: tuple[Any, Any] | None
    label: int | None
    bound: np.ndarray
    method: Crown | Ibp
    coeffs: np.ndarray | None = None
    offset: np.ndarray | None = None
    library: str = __version__
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reason = _contradiction(self)
        if reason:
            raise CertificateError(f"the certificate {reason}.")


def write_certificate(path: Path | str, certificate: Certificate) -> None:
    """Write a certificate; a kill leaves the old file or the new one, never half of one.

    Raises:
      CertificateError: its method has no place in the format.
    """
    path = Path(path)
    method, arrays = _described(certificate.method)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "library": certificate.library,
        "model": certificate.model,
        "norm": f"{certificate.norm:g}",
        "label": certificate.label,
        "method": method,
        "notes": dict(certificate.notes),
    }
    arrays |= {"center": certificate.center, "eps": np.asarray(certificate.eps, np.float64)}
    if certificate.clip is not None:
        arrays |= {"clip_low": certificate.clip[0], "clip_high": certificate.clip[1]}
    if certificate.coeffs is not None:
        arrays |= {"coeffs": certificate.coeffs, "offset": certificate.offset}
    arrays = {name: np.asarray(value) for name, value in {**arrays, "bound": certificate.bound}.items()}
    arrays["about"] = np.array(json.dumps(about, allow_nan=False, sort_keys=True))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(buffer.getvalue())
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_certificate(path: Path | str) -> Certificate:
    """Read a certificate and see that it is whole and makes sense; its claim is not checked.

    Raises:
      CertificateError: no file, damaged, of another format or a later version, or contradictory.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(str(arrays.pop("about")[()]))
    except FileNotFoundError as error:
        raise CertificateError(f"There is no certificate {path}: check the path.") from error
    except _DAMAGE as error:
        raise CertificateError(f"{path} is no certificate, or a damaged one: write it again.") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CertificateError(f"{path} is not a file of jaxcert certificates.")
    if about.get("version") != VERSION:
        raise CertificateError(
            f"{path} has format version {about.get('version')!r}, this library reads {VERSION}: "
            "use the version of jaxcert that wrote it."
        )
    try:
        return _certificate(about, arrays)
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CertificateError(f"{path} lacks a part of a certificate ({error}): write it again.") from error


def _certificate(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Certificate:
    clip = (arrays["clip_low"], arrays["clip_high"]) if "clip_low" in arrays else None
    return Certificate(
        model=about["model"],
        center=arrays["center"],
        eps=float(arrays["eps"]) if arrays["eps"].ndim == 0 else arrays["eps"],
        norm=float(about["norm"]),
        clip=clip,
        label=about["label"],
        bound=arrays["bound"],
        method=_method(about["method"], arrays),
        coeffs=arrays.get("coeffs"),
        offset=arrays.get("offset"),
        library=str(about["library"]),
        notes=dict(about["notes"]),
    )


def _described(method: Crown | Ibp) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """A method as names, and the arrays of its slopes."""
    if isinstance(method, Ibp):
        return {"engine": "ibp"}, {}
    inner = method.intermediate
    if inner is None:
        intermediate = "same"
    elif inner == Ibp():
        intermediate = "ibp"
    elif inner == crown():
        intermediate = "crown"
    else:
        raise CertificateError("intermediate bounds of a certificate come from the method, ibp() or crown().")
    described = {"engine": "crown", "intermediate": intermediate}
    if isinstance(method.slope, PerRow):
        named = {"_".join(map(str, key)): value for key, value in method.slope.alphas.items()}
        return {**described, "slope": "rows"}, {f"rows_{name}": np.asarray(v) for name, v in named.items()}
    if isinstance(method.slope, Given):
        named = {f"given_{i}": np.asarray(alpha) for i, alpha in enumerate(method.slope.alphas)}
        return {**described, "slope": "given"}, named
    for name, rule in _RULES.items():
        if rule == method.slope:
            return {**described, "slope": name}, {}
    raise CertificateError(f"slopes of type {type(method.slope).__name__} have no place in a certificate.")


def _method(described: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> Crown | Ibp:
    if described["engine"] == "ibp":
        return ibp()
    if described["engine"] != "crown":
        raise CertificateError(f"its method {described['engine']!r} is unknown.")
    intermediate = {"same": None, "ibp": ibp(), "crown": crown()}[described["intermediate"]]
    return Crown(_slope(described["slope"], arrays), intermediate)


def _slope(name: str, arrays: Mapping[str, np.ndarray]) -> Slope:
    if name == "given":
        count = sum(key.startswith("given_") for key in arrays)
        return Given(tuple(_positions(arrays[f"given_{i}"]) for i in range(count)))
    if name == "rows":
        keys = [re.fullmatch(r"rows_(-?\d+)_(-?\d+)_(-?\d+)", key) for key in arrays]
        found = [match for match in keys if match]
        return PerRow(
            {
                (int(m.group(1)), int(m.group(2)), int(m.group(3))): _positions(arrays[m.group(0)])
                for m in found
            }
        )
    return _RULES[name]


def _positions(array: np.ndarray) -> Any:
    if not np.issubdtype(array.dtype, np.floating) or not np.all(np.isfinite(array)):
        raise CertificateError("its slopes are not finite numbers.")
    return array


def _contradiction(c: Certificate) -> str | None:
    """What is wrong with a certificate, None if nothing is."""
    shape, rows = np.shape(c.center), np.shape(c.bound)
    checks = {
        "has a model hash that is no sha256": isinstance(c.model, str)
        and bool(re.fullmatch(r"[0-9a-f]{64}", c.model)),
        "has a centre that is not an array of finite floating-point numbers": _finite(c.center)
        and np.issubdtype(np.asarray(c.center).dtype, np.floating),
        "has an eps that is not finite and >= 0, a number or shaped like the centre": _finite(c.eps)
        and bool(np.all(np.asarray(c.eps) >= 0))
        and np.shape(c.eps) in ((), shape),
        "has a norm other than 1, 2 and inf": c.norm in (1.0, 2.0, math.inf),
        "has a clip that does not hold the centre": c.clip is None or _holds(c.clip, c.center),
        "has a bound that is not a list of finite numbers": _finite(c.bound)
        and len(rows) == 1
        and rows[0] > 0,
        "needs either a label or coefficients with an offset": (c.label is None) == (c.coeffs is not None)
        and (c.coeffs is None) == (c.offset is None),
        "has a label that is not an integer >= 0": c.label is None
        or (isinstance(c.label, int) and not isinstance(c.label, bool) and c.label >= 0),
        "has coefficients and an offset that do not fit the bound": c.coeffs is None
        or (
            _finite(c.coeffs)
            and _finite(c.offset)
            and c.coeffs.shape[:1] == np.asarray(c.offset).shape == rows
        ),
    }
    return next((reason for reason, good in checks.items() if not good), None)


def _finite(value: Any) -> bool:
    array = np.asarray(value)
    return np.issubdtype(array.dtype, np.number) and bool(np.all(np.isfinite(array)))


def _holds(clip: tuple[Any, Any], center: np.ndarray) -> bool:
    low, high = (np.asarray(end) for end in clip)
    fits = all(_finite(end) and end.shape in ((), np.shape(center)) for end in (low, high))
    return fits and bool(np.all((low <= center) & (center <= high)))
