"""The oracle of distances against a general nonlinear solver, and by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.oracles import halfspace, sets


@pytest.mark.parametrize("norm", [1.5, 2.0, 3.0])
def test_distances_agree_with_slsqp(norm):
    rng = np.random.default_rng(7)
    for _ in range(12):
        center, coeffs = rng.random(4), rng.normal(size=4)
        region = sets.Set(center, 0.2 + rng.random(4), norm, np.zeros(4), np.ones(4))
        room = np.abs(coeffs) @ np.where(coeffs > 0, center, 1 - center)
        offset = 0.6 * room - coeffs @ center
        found = minimize(
            lambda d, region=region: (np.abs(d / region.radius) ** norm).sum(),
            0.9 * np.where(coeffs > 0, -center, 1 - center),
            method="SLSQP",
            bounds=list(zip(-center, 1 - center, strict=True)),
            constraints={"type": "ineq", "fun": lambda d, c=coeffs, x=center, o=offset: -(c @ (x + d) + o)},
            options={"maxiter": 500, "ftol": 1e-13},
        )
        assert found.success
        ours = halfspace.distance(region, coeffs, offset)
        assert ours == pytest.approx(found.fun ** (1 / norm), rel=1e-4)


def test_distances_by_hand():
    region = sets.Set(np.ones(2), np.ones(2), np.inf, np.array([0.5, 0.0]), np.full(2, 2.0))
    assert halfspace.distance(region, np.array([3.0, 1.0]), -1.75) == pytest.approx(0.75)
    assert halfspace.distance(region, np.array([3.0, 1.0]), -1.0) == np.inf
    assert halfspace.distance(region, np.array([3.0, 1.0]), -4.0) == 0
    taxi = sets.Set(np.ones(2), np.ones(2), 1.0, np.array([0.5, 0.0]), np.full(2, 2.0))
    assert halfspace.distance(taxi, np.array([3.0, 1.0]), -2.25) == pytest.approx(0.75)
