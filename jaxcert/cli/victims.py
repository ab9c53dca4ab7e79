"""What a command attacks: a finished run, or a network from a file."""

from dataclasses import dataclass
from pathlib import Path

from jaxcert.cli.choices import NormName
from jaxcert.cli.runs import open_run
from jaxcert.data import load
from jaxcert.devices import on_all, require_same
from jaxcert.errors import ConfigError, DataError
from jaxcert.evaluate import Subject, fingerprint
from jaxcert.formats import read_plain_network


@dataclass(frozen=True)
class Victim:
    """A network and its test images.

    Attributes:
      subject: network and images.
      dataset: the name of the data set.
      eps: radius that is meant where none is given, `None` if there is none; `norm` its ball's.
      trained_at: the eps of robust training, or `None`.
      folder: where results go where nothing is said.
    """

    subject: Subject
    dataset: str
    eps: float | None
    norm: NormName
    trained_at: float | None
    folder: Path

    def radius(self, asked: float | None) -> float:
        """The radius asked for, or the one that is meant.

        Raises:
          ConfigError: there is neither.
        """
        eps = self.eps if asked is None else asked
        if eps is None:
            raise ConfigError(f"{self.subject.name} says no eps: give one with --eps.")
        return eps


def open_victim(path: Path, data_dir: Path | None) -> Victim:
    """The run in a folder, or the network in `MODEL.npz` and `MODEL.json`.

    Raises:
      CheckpointError, InvalidInputError: see `open_run` and `read_plain_network`.
      DataError: the data are missing or damaged, or have another shape than the network's images.
    """
    if path.suffix in (".npz", ".json"):
        return _of_file(path, data_dir)
    run = open_run(path, data_dir)
    config = run.config
    trained_at = None if config.method == "standard" else config.eps
    return Victim(run.subject(), run.dataset.name, config.eps, config.norm, trained_at, path)


def _of_file(path: Path, data_dir: Path | None) -> Victim:
    network = read_plain_network(path)
    dataset = on_all(lambda: load(network.dataset, data_dir))
    test = dataset.test
    if test.images.shape[1:] != network.shape:
        raise DataError(
            f"{network.name} takes images of shape {network.shape}, but those of {dataset.name} have shape "
            f"{test.images.shape[1:]}: choose other data."
        )
    identity = {
        "network": fingerprint(network.params),
        "model": network.name,
        "images": fingerprint(test.images, test.labels),
    }
    require_same("network and test images", lambda: identity)
    subject = Subject(network.name, network.apply, network.params, test, identity)
    eps = network.eps[0] if network.eps else None
    norm: NormName = "l2" if network.norm == 2 else "l1" if network.norm == 1 else "linf"
    return Victim(subject, dataset.name, eps, norm, None, Path("runs") / network.name)
