"""Table 3.9 and Figure 3.9 of theses/4a: bound computations to the optimal eps, by bisection and by PEC.

Command: `python -m experiments.verifiable.table_3_9`. Runtime: about 4 CPU minutes without training.
T_Lin and T_PEC are `evaluations - 1`: both searches begin with one bound at the largest eps, which the
thesis's count leaves out; PEC may already learn a lower end from it.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
import numpy as np

import jaxcert as jc
from experiments.verifiable.figures import optimal_bounds
from experiments.verifiable.measure import measured
from experiments.verifiable.networks import NETWORKS, RUNS, trained


@dataclass(frozen=True)
class Case:
    """A column of the table: networks, norm, the first bracket [0, largest], and how many halvings.

    The thesis's precision of 1e-4 is ceil(log2(largest / 1e-4)) halvings. `box`: whether the bounds of the
    layers use the range of pixels too, or only the last step and the distance to the planes.
    """

    networks: tuple[str, ...]
    norm: float
    largest: float
    steps: int
    images: int
    batch: int
    box: bool


@dataclass(frozen=True)
class Config:
    """Fast-Lin bounds, pixels in [0, 1], the attacker confined to them, as in the thesis.

    For l_2 the thesis bounds layers over the whole ball; exact bounds over ball and box leave PEC less
    to save.
    """

    cases: tuple[Case, ...] = (
        Case(("fc1-plain", "fc1-at", "fc1-ibp"), math.inf, 0.4, 12, 100, 20, True),
        Case(("fc1-plain", "fc1-at", "fc1-ibp"), 2.0, 1.2, 14, 100, 20, False),
        Case(("fc1-plain", "fc1-at", "fc1-ibp"), 2.0, 1.2, 14, 20, 20, True),
        Case(("cnn-plain", "cnn-at", "cnn-ibp"), math.inf, 0.4, 12, 20, 5, True),
    )


@jax.tree_util.register_static
@dataclass(frozen=True)
class WithoutBox:
    """Fast-Lin whose layers are bounded over the whole ball."""

    def lower(self, fn, region, coeffs, offset=None):
        return jc.fast_lin().lower(fn, replace(region, clip=None), coeffs, offset)

    def linear_lower(self, fn, region, coeffs, offset=None):
        return jc.fast_lin().linear_lower(fn, replace(region, clip=None), coeffs, offset)


EXPECTED = {
    "fc1, linf": {"plain": 0.8207, "at": 0.8972, "KW": 0.7066, "MMR": 0.6703, "L-PER": 0.7780},
    "fc1, l2": {"plain": 0.6914, "at": 0.7457, "KW": 0.5514, "MMR": 0.4186, "L-PER": 0.8194},
    "cnn, linf": {"plain": 0.8804, "at": 0.9489, "KW": 0.9674, "MMR": 0.8897, "L-PER": 0.9305},
}
"""T_PEC / T_Lin of Table 3.9, MNIST; IBP training is not in it."""


def measure_network(name: str, case: Case, folder: Path) -> dict[str, np.ndarray]:
    model, variables, dataset = trained(name)
    method = jc.fast_lin() if case.box else WithoutBox()

    def search(variables, x, label):
        fn = lambda x: model.apply(variables, x)
        region = jc.lp_ball(x, case.largest, case.norm, clip=(0.0, 1.0))
        by_verdict = jc.certified_radius(method, fn, region, label, search=jc.bisection(case.steps))
        by_planes = jc.certified_radius(method, fn, region, label, search=jc.pec(case.steps))
        return {
            "correct": fn(x).argmax() == label,
            "lin": by_verdict.lower,
            "pec": by_planes.lower,
            "t_lin": by_verdict.evaluations - 1,
            "t_pec": by_planes.evaluations - 1,
        }

    run = jax.jit(jax.vmap(search, in_axes=(None, 0, 0)))
    settings = asdict(case) | {"network": name, "norm": str(case.norm)}
    path = folder / f"{name}-{label_of(case)}.jsonl"
    bound = lambda xs, ys: run(variables, xs, ys)
    return measured(path, settings, dataset.test, case.images, case.batch, bound)


def label_of(case: Case) -> str:
    return {math.inf: "linf", 2.0: "l2"}[case.norm] + "-without-box" * (not case.box)


def main(config: Config = Config()) -> None:
    folder = RUNS / "table_3_9"
    print("| network | norm | images | T_Lin | T_PEC | ratio | optimal eps, Lin | optimal eps, PEC |")
    print("|---|---|---|---|---|---|---|---|")
    for case in config.cases:
        bounds = {}
        for name in case.networks:
            found = measure_network(name, case, folder)
            kept = found["correct"]
            lin, pec = found["t_lin"][kept], found["t_pec"][kept]
            assert (pec <= lin).all()
            bounds[name] = found["pec"][kept]
            print(
                f"| {name} | {label_of(case)} | {kept.sum()} | {lin.mean():.2f} | {pec.mean():.2f} | "
                f"{pec.mean() / lin.mean():.4f} | {found['lin'][kept].mean():.4f} | "
                f"{found['pec'][kept].mean():.4f} |",
                flush=True,
            )
        kind, norm = case.networks[0].split("-")[0], label_of(case)
        title = f"{kind.upper()} on MNIST, {norm}, {case.images} images"
        target = NETWORKS[case.networks[1]].eps
        if norm == "linf":
            optimal_bounds(bounds, target, title, folder / f"figure_3_9_{kind}_{norm}.png")
    print(f"published ratios: {EXPECTED}")


if __name__ == "__main__":
    main()
