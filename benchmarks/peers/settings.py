"""Which of its settings each peer runs fastest with: what `python -m benchmarks.peers.tune` found."""

from dataclasses import dataclass

from benchmarks.work import Work


@dataclass(frozen=True)
class Lirpa:
    """How auto_LiRPA is used.

    `conv_mode`: its representation of convolutions in backward bounds; `channels_last`: the memory
    format of images; `chunk`: how many images it is given at a time, None for all.
    """

    conv_mode: str = "patches"
    channels_last: bool = False
    chunk: int | None = None

    @property
    def text(self) -> str:
        order = "channels last" if self.channels_last else "NCHW"
        return f"{self.conv_mode}, {order}" + ("" if self.chunk is None else f", {self.chunk} at a time")


CROWN_CHUNK = {"mlp": 16, "dm-medium": 1, "wk-large": 1, "cnn7-bn": 1}
"""Images at a time where every layer gets a backward pass, 4 for other networks: faster than the whole
batch (wk-small, 64: 3.1 s for 4.1 s, with gradient 5.2 s for 10.4 s), and some do not fit in memory whole."""


CROWN_IBP_CHUNK = {"dm-medium": 16, "wk-large": 16}
"""With gradient faster (dm-medium, 64: 1.2 s for 1.7 s), without it as fast; slower on wk-small."""


def lirpa_settings(work: Work) -> Lirpa:
    """Patches were as fast as matrices or faster everywhere, much faster for full CROWN."""
    if work.base == "ibp" or work.operation == "train-ibp":
        return Lirpa(channels_last=True)
    if work.base in ("crown", "fast-lin", "alpha-crown"):
        return Lirpa(chunk=CROWN_CHUNK.get(work.network, 4))
    if work.base == "crown-ibp":
        return Lirpa(chunk=CROWN_IBP_CHUNK.get(work.network))
    return Lirpa()


def torch_channels_last(work: Work) -> bool:
    """Twice as fast as NCHW for interval bounds, a little faster elsewhere, never slower beyond the noise."""
    return True
