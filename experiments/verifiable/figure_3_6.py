"""Figure 3.6 of theses/4a: certified l_inf radius of one MNIST image against the eps of the bounded region.

Expected: Fast-Lin certifies eps up to a threshold and nothing above; PEC the same up to that threshold, and a
falling radius above it. The thesis's network is FC1 trained by MMR+at; here FC1 after adversarial training.
Command: `python -m experiments.verifiable.figure_3_6`. Runtime: some seconds without training.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import jaxcert as jc
from experiments.verifiable.figures import bound_against_eps
from experiments.verifiable.networks import RUNS, trained


@dataclass(frozen=True)
class Config:
    network: str = "fc1-at"
    image: int = 0
    largest: float = 0.12
    points: int = 97


def main(config: Config = Config()) -> None:
    model, variables, dataset = trained(config.network)
    x = jnp.asarray(dataset.test.pixels(np.array([config.image]))[0])
    label = int(dataset.test.labels[config.image])
    eps = np.linspace(0, config.largest, config.points, dtype=np.float32)[1:]

    @jax.jit
    def curves(variables, eps):
        def at(eps):
            region = jc.linf_ball(x, eps, clip=(0.0, 1.0))
            envelope = jc.polyhedral_envelope(
                jc.fast_lin(), lambda x: model.apply(variables, x), region, label
            )
            return jnp.where(jc.is_certified(envelope.margins), eps, 0), envelope.radius

        return jax.lax.map(at, eps, batch_size=16)

    lin, pec = (np.asarray(values) for values in curves(variables, jnp.asarray(eps)))
    assert (pec >= lin).all()
    above = lin == 0
    print(f"threshold of Fast-Lin: {lin.max():.4f}; largest PEC radius: {pec.max():.4f}")
    print(f"PEC above the threshold: from {pec[above][0]:.4f} to {pec[above][-1]:.4f}")
    bound_against_eps(
        eps,
        {"Fast-Lin": lin, "PEC": pec},
        f"{config.network}, test image {config.image}",
        RUNS / "figure_3_6" / "figure_3_6.png",
    )


if __name__ == "__main__":
    main()
