"""Measuring image by image: JSON lines on disk, batch by batch, resumed after a kill."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxcert.data import Split

Measure = Callable[[jnp.ndarray, jnp.ndarray], Mapping[str, jnp.ndarray]]


def measured(
    path: Path, settings: Mapping[str, Any], images: Split, count: int, batch: int, measure: Measure
) -> dict[str, np.ndarray]:
    """What `measure(xs, labels)` finds on the first `count` images, stacked by name; the file keeps it.

    The first line holds the settings; a file made with other settings is an error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = _whole_lines(path)
    plain = json.loads(json.dumps(dict(settings)))
    if not lines:
        path.write_text(json.dumps({"settings": plain}) + "\n")
    elif json.loads(lines[0])["settings"] != plain:
        raise SystemExit(f"{path} was made with other settings: move it away.")
    records = [json.loads(line) for line in lines[1:]]
    with tqdm(total=count, initial=min(len(records), count), desc=path.stem, unit="image") as bar:
        while len(records) < count:
            chosen = np.arange(len(records), len(records) + batch)  # whole batches compile once
            labels = images.labels[chosen]
            start = time.process_time()
            found = measure(jnp.asarray(images.pixels(chosen)), jnp.asarray(labels))
            values = {name: np.asarray(value) for name, value in found.items()}
            seconds = (time.process_time() - start) / batch
            new = [
                {"index": int(index), "label": int(labels[row]), "cpu_seconds": round(seconds, 4)}
                | {name: _plain(value[row]) for name, value in values.items()}
                for row, index in enumerate(chosen)
            ][: count - len(records)]
            with path.open("a") as file:
                file.write("".join(json.dumps(record) + "\n" for record in new))
            records += new
            bar.update(len(new))
    return {name: np.array([record[name] for record in records[:count]]) for name in records[0]}


def _plain(value: np.ndarray) -> Any:
    if value.dtype == bool:
        return bool(value)
    if np.issubdtype(value.dtype, np.integer):
        return value.tolist()
    return np.round(value.astype(np.float64), 7).tolist()


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    return whole.decode().splitlines()
