"""Which of its settings each peer runs fastest with: what `python -m benchmarks.peers.tune` found."""

from dataclasses import dataclass

from benchmarks.work import Work


@dataclass(frozen=True)
class Lirpa:
    """auto_LiRPA's representation of convolutions in backward bounds, and the memory format of images."""

    conv_mode: str = "patches"
    channels_last: bool = False

    @property
    def text(self) -> str:
        return f"{self.conv_mode}, {'channels last' if self.channels_last else 'NCHW'}"


def lirpa_settings(work: Work) -> Lirpa:
    if work.base == "ibp" or work.operation == "train-ibp":
        return Lirpa(channels_last=True)
    return Lirpa()


def torch_channels_last(work: Work) -> bool:
    return True
