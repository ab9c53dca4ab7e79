"""Tables 3.2 and 3.3, Figures 3.4 and 3.5 of theses/4a: non-uniform against uniform certificates on MNIST.

Command: `python -m experiments.verifiable.table_3_2`. Runtime: about 3 CPU minutes without training.
Radii are computed in pixels of [0, 1] and reported in the thesis's pixels of [-1, 1], twice as large.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np

import jaxcert as jc
from experiments.verifiable.figures import bounding_maps, radius_histograms
from experiments.verifiable.measure import measured
from experiments.verifiable.networks import RUNS, trained


@dataclass(frozen=True)
class Config:
    """The thesis: whole test sets, hidden layers of 100, 300 and 500; here one width and fewer images."""

    networks: tuple[str, ...] = ("mlp-vanilla", "mlp-robust")
    images: int = 50
    """The first of the test set; misclassified ones have no certificate and are left out of averages."""
    batch: int = 10
    steps: int = 400
    scale: float = 2.0
    """Pixels of [-1, 1] per pixel of [0, 1]."""


EXPECTED = {
    "mlp-vanilla": {"accuracy": 99.2, "uniform": 0.0295, "nonuniform": 0.0349, "ratio": 1.183, "cos": 0.9548},
    "mlp-robust": {"accuracy": 98.1, "uniform": 0.0692, "nonuniform": 0.1678, "ratio": 2.425, "cos": 0.9957},
}
"""Table 3.2, MNIST, 100 neurons per hidden layer; cos: mean cosine of Table 3.3."""


def measure_network(name: str, config: Config, folder: Path) -> dict[str, np.ndarray]:
    model, variables, dataset = trained(name)
    solver = jc.AugmentedLagrangian(steps=config.steps)

    def certify(variables, x, label):
        fn = lambda x: model.apply(variables, x)
        uniform = jc.uniform_radii(jc.fast_lin(), fn, x, label, solver=solver)
        free = jc.nonuniform_radii(jc.fast_lin(), fn, x, label, solver=solver)
        return {
            "correct": fn(x).argmax() == label,
            "uniform": uniform.average,
            "nonuniform": free.average,
            "uniform_margin": uniform.margins.min(),
            "nonuniform_margin": free.margins.min(),
            "radius": free.radius,
        }

    run = jax.jit(jax.vmap(certify, in_axes=(None, 0, 0)))
    settings = asdict(config) | {"network": name}
    return measured(
        folder / f"{name}.jsonl",
        settings,
        dataset.test,
        config.images,
        config.batch,
        lambda xs, ys: run(variables, xs, ys),
    )


def cosines(radii: np.ndarray) -> np.ndarray:
    """Cosine similarities of all pairs of different inputs."""
    unit = radii.reshape(len(radii), -1)
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


def main(config: Config = Config()) -> None:
    folder = RUNS / "table_3_2"
    certified, found = {}, {}
    for name in config.networks:
        found[name] = measure_network(name, config, folder)
        certified[name] = found[name]["nonuniform"] > 0
    print("| network | certified | uniform eps | non-uniform eps | ratio | mean cos | min cos | published |")
    print("|---|---|---|---|---|---|---|---|")
    for name, values in found.items():
        kept = certified[name]
        uniform = config.scale * values["uniform"][kept].mean()
        free = config.scale * values["nonuniform"][kept].mean()
        cos = cosines(values["radius"][kept])
        print(
            f"| {name} | {kept.sum()}/{len(kept)} | {uniform:.4f} | {free:.4f} | {free / uniform:.3f} | "
            f"{cos.mean():.4f} | {cos.min():.4f} | {EXPECTED[name]} |"
        )
        assert (values["uniform_margin"][kept] > 0).all()
        assert (values["nonuniform_margin"][kept] > 0).all()
    _, _, dataset = trained(config.networks[0])
    images = dataset.test.pixels(slice(0, config.images))
    labels = dataset.test.labels[: config.images]
    both = np.logical_and.reduce(list(certified.values()))
    digits = [int(np.flatnonzero(both & (labels == digit))[0]) for digit in (1, 7)]
    radii = {name: config.scale * values["radius"] for name, values in found.items()}
    bounding_maps(images, radii, digits, folder / "figure_3_5.png")
    radius_histograms(radii, digits[1], folder / "figure_3_4.png", trained_at={"mlp-robust": 0.1})


if __name__ == "__main__":
    main()
