"""Which setting each torch peer runs fastest with, see `settings`: `python -m benchmarks.peers.tune WORK ...`

Pin it to one idle core with OMP_NUM_THREADS=1, like the benchmarks.
"""

import sys
from collections.abc import Iterator

from benchmarks import images, networks, timer
from benchmarks.contender import Contender
from benchmarks.peers.auto_lirpa import AutoLirpa
from benchmarks.peers.settings import Lirpa
from benchmarks.peers.torch_plain import TorchPlain
from benchmarks.work import Work, parse


def variants() -> Iterator[Contender]:
    for channels_last in (False, True):
        yield TorchPlain(channels_last)
        for conv_mode in ("patches", "matrix"):
            yield AutoLirpa(Lirpa(conv_mode, channels_last))


def tell(work: Work) -> None:
    name, batch = work.network, work.batch
    given = networks.weights(name), images.images(name, batch), images.labels(name, batch)
    for contender in variants():
        if contender.refuses(work) is not None:
            continue
        prepared = contender.prepare(work, *given)
        prepared.call()
        timing = timer.measure(prepared.call)
        told = f"{timing.cpu_ms:.2f} ± {timing.cpu_spread_ms:.2f} ms"
        print(f"{work.id}: {contender.name}, {prepared.note}: {told}", flush=True)


if __name__ == "__main__":
    for text in sys.argv[1:]:
        tell(parse(text))
