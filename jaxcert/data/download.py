"""Downloads that are used only when their bytes have the expected checksum."""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from jaxcert.data.reasons import reason
from jaxcert.data.spec import DatasetSpec, Source
from jaxcert.data.whole_file import whole_file
from jaxcert.errors import DataError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60


def fetch_sources(spec: DatasetSpec, folder: Path, *, download: bool) -> None:
    """Make `folder` hold every source file of `spec` with the right checksum.

    Files already there are checked and kept; missing or damaged ones are downloaded. Raises `DataError`
    if that fails, or if `download` is false and a file is missing or damaged; no part of a file is left
    under its name.
    """
    for source in spec.sources:
        target = folder / source.filename
        if target.is_file() and _sha256(target) == source.sha256:
            continue
        if not download:
            raise DataError(f"There is no {target} with the published checksum; {_advice(spec)}.")
        _download(source, target, spec)


def _download(source: Source, target: Path, spec: DatasetSpec) -> None:
    try:
        with whole_file(target) as part:
            _stream(source.url, part)
            digest = _sha256(part)
            if digest != source.sha256:
                raise DataError(
                    f"{source.url} gave a file with sha256 {digest} instead of {source.sha256} "
                    f"(truncated or changed); try again, or {_advice(spec)}."
                )
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"{source.url} could not be downloaded to {target.parent} ({reason(error)}); check the network, "
            f"or {_advice(spec)}."
        ) from error


def _stream(url: str, part: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response, part.open("wb") as file:
            shutil.copyfileobj(response, file, _CHUNK)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _advice(spec: DatasetSpec) -> str:
    names = ", ".join(source.filename for source in spec.sources)
    return f"put {names} in a folder and pass it with data_dir (--data-dir, or JAXCERT_DATA)"
