"""One of two processes that train and evaluate together: `python -m tests.devices.two FOLDER PORT INDEX`.

It prints one JSON object of facts, which `test_mesh` judges.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np

from jaxcert.data import Split
from jaxcert.devices import Processes, join, on_all, on_first, open_mesh, require_same
from jaxcert.errors import DataError, JaxcertError
from jaxcert.train import fit
from tests.devices.eight import CONFIG, Stop, errors_of, stages_of

pixels, decoded = Split.pixels, []


def counted(self, indices):
    images = pixels(self, indices)
    decoded.append(len(images))
    return images


def failing_in(index):
    def compute():
        if jax.process_index() == index:
            raise DataError(f"{index} has no data.")
        return index

    return compute


def words(call):
    try:
        return f"no error: {call()}"
    except JaxcertError as error:
        return str(error)


def main(folder: Path, port: int, index: int) -> None:
    join(Processes(f"127.0.0.1:{port}", 2, index))
    devices = open_mesh(None)
    # A folder of its own for each process: what process 1 would write or read could not be that of process 0.
    mine = folder / str(index)

    def stop(end):
        raise Stop

    Split.pixels = counted
    with suppress(Stop):
        fit(CONFIG, mine / "run", evaluate=stop, checkpoint_seconds=0.0, progress=False, devices=devices)
    steps = list(decoded)
    fit(CONFIG, mine / "run", progress=False, devices=devices)
    errors_of(mine / "evaluation", devices, mine / "run", 30)
    decoded.clear()
    (report,) = errors_of(mine / "evaluation", devices, mine / "run", 50)
    facts = {
        "devices": [devices.count, jax.local_device_count()],
        "rows": devices.rows(8).tolist(),
        "decoded": steps,
        "decoded in evaluation": max(decoded),
        "report": [report.n, report.clean, report.attacked, report.certified["crown"]],
        "stages": stages_of(mine / "evaluation" / "stages", devices, mine / "run", 50),
        "files": sorted(path.name for path in mine.iterdir()) if mine.exists() else [],
        "first fails": words(lambda: on_first(failing_in(0))),
        "second fails": words(lambda: on_all(failing_in(1))),
        "differ": words(lambda: require_same("numbers", lambda: index)),
        "sent": on_first(lambda: {"text": "words", "numbers": np.arange(3.0)})["numbers"].tolist(),
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
