"""One measurement in one fresh process.

    python -m benchmarks.worker QUESTION CONTENDER TASK [CORES] [REPEATS]
    python -m benchmarks.worker bounds auto_LiRPA ibp/mlp/64 1 9
    python -m benchmarks.worker --versions

Prints one line of JSON, marked, last. CORES such as "1" or "0,1" pins the process before anything is
imported; threads are limited by the environment that `isolation` gives. `--versions` prints the
contenders' versions, or why they cannot be imported.
"""

import json
import os
import sys
from dataclasses import asdict

MARK = "measured: "


def main(arguments: list[str]) -> None:
    if arguments == ["--versions"]:
        from benchmarks.contenders import versions

        print(MARK + json.dumps(versions()))
        return
    if arguments[0] == "--refusals":
        print(MARK + json.dumps(_refusals(arguments[1])))
        return
    name, contender, task_id, *rest = arguments
    if rest:
        pin(rest[0])
    from benchmarks.catalog import question
    from benchmarks.question import Row, Task

    count = 1 + rest[0].count(",") if rest else 1
    task = Task(name, contender, task_id, cores=count)
    try:
        row = question(name).measure(task, int(rest[1]) if len(rest) > 1 else 9)
    except MemoryError as error:
        row = Row(*task.key, "memory", _sentence(error))
    except Exception as error:  # whatever a contender raises is a result, which the table shows
        status = "memory" if "RESOURCE_EXHAUSTED" in str(error) else "failed"
        row = Row(*task.key, status, _sentence(error))
    print(MARK + json.dumps(asdict(row)), flush=True)


def _refusals(path: str) -> dict[str, dict[str, str]]:
    """For the contenders and works in a file, contender -> {work: why it refuses}."""
    from benchmarks.contenders import load
    from benchmarks.work import parse

    with open(path, encoding="utf-8") as file:
        asked = json.load(file)
    return {
        name: {work: reason for work in asked["works"] if (reason := load(name).refuses(parse(work)))}
        for name in asked["contenders"]
    }


def pin(cores: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


if __name__ == "__main__":
    main(sys.argv[1:])
