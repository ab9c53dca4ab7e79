"""The oracles against each other, against closed forms, and against recorded exact optima."""

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from tests.oracles import crown, dual, enumeration, finite, interval, linear_min, milp, nets, sampling, sets

SLOPES = [crown.adaptive, crown.parallel, crown.zero, crown.one]


def random_set(rng, n, norm, clipped, zeros=False):
    center = rng.random(n)
    radius = rng.uniform(0.05, 0.6, n)
    if zeros:
        radius[rng.random(n) < 0.3] = 0.0
    return sets.ball(center, radius, norm, (0.0, 1.0) if clipped else None)


def random_mlp(rng, widths):
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(widths)]
    return nets.mlp(weights, [0.3 * rng.normal(size=b) for b in widths[1:]])


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 2.0, np.inf])
def test_linear_minimum_agrees_with_general_solvers(norm, clipped):
    rng = np.random.default_rng(0)
    for _ in range(30):
        region = random_set(rng, 5, norm, clipped, zeros=True)
        coeffs = rng.normal(size=5) * (rng.random(5) < 0.8)
        value = linear_min.minimize(region, coeffs)
        point = linear_min.minimizer(region, coeffs)
        assert sets.contains(region, point, 1e-12)
        if norm == 2:
            assert value == pytest.approx(linear_min.minimize_by_bisection(region, coeffs), abs=1e-12)
            assert value == pytest.approx(slsqp(region, coeffs), abs=1e-5)
        else:
            assert value == pytest.approx(linear_min.minimize_by_lp(region, coeffs), abs=1e-9)


def slsqp(region, coeffs):
    free = region.radius > 0
    if not free.any():
        return float(coeffs @ region.center)
    lower, upper = sets.interval(region)
    inside = {
        "type": "ineq",
        "fun": lambda s: 1 - s @ s,
        "jac": lambda s: -2 * s,
    }
    scale = region.radius[free]
    limits = list(
        zip((lower - region.center)[free] / scale, (upper - region.center)[free] / scale, strict=True)
    )
    result = scipy_minimize(
        lambda s: (coeffs[free] * scale) @ s,
        np.zeros(free.sum()),
        jac=lambda s: coeffs[free] * scale,
        bounds=limits,
        constraints=[inside],
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    return float(coeffs @ region.center + result.fun)


def test_linear_minimum_of_a_half_clipped_disc():
    # center (0.5, 0), radius 1, x >= 0: minimise x + y. The free minimiser has x = 0.5 - 0.707 < 0,
    # so x = 0 and y = -sqrt(1 - 0.25).
    region = sets.Set(np.array([0.5, 0.0]), np.ones(2), 2, np.array([0.0, -9.0]), np.array([9.0, 9.0]))
    assert linear_min.minimize(region, np.ones(2)) == pytest.approx(-np.sqrt(0.75), abs=1e-14)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 2.0, np.inf])
def test_samples_lie_in_the_set(norm, clipped):
    rng = np.random.default_rng(1)
    region = random_set(rng, 4, norm, clipped, zeros=True)
    assert sets.contains(region, sampling.points(region, 200, rng), 1e-12).all()


def test_set_membership_can_fail():
    region = sets.ball([0.5, 0.5], [0.1, 0.0], 2, (0.0, 1.0))
    assert sets.contains(region, np.array([0.6, 0.5]))
    assert not sets.contains(region, np.array([0.61, 0.5]))
    assert not sets.contains(region, np.array([0.5, 0.50001]))
    assert not sets.contains(sets.ball([0.9], 0.5, 1, (0.0, 1.0)), np.array([1.1]))


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("norm", [1.0, 2.0, np.inf])
def test_fast_lin_is_the_wong_kolter_dual(norm, clipped):
    rng = np.random.default_rng(2)
    net, rows = random_mlp(rng, [5, 9, 7, 8, 4]), nets.margin_rows(4, 2)
    region = random_set(rng, 5, norm, clipped, zeros=True)
    assert crown.fast_lin(net, region, rows) == pytest.approx(dual.lower(net, region, rows), abs=1e-11)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("norm", [1.0, 2.0, np.inf])
def test_bounds_are_below_every_sample(norm, slope):
    rng = np.random.default_rng(3)
    rows = nets.margin_rows(4, 1)
    chain = random_mlp(rng, [4, 8, 8, 4])
    skip = nets.residual(*_residual_weights(rng))
    for net in (chain, skip):
        region = random_set(rng, 4, norm, clipped=True)
        smallest = (nets.forward(net, sampling.points(region, 2000, rng)) @ rows.T).min(axis=0)
        lower, upper = interval.propagate(nets.with_specification(net, rows), region)[-1]
        assert (lower <= smallest + 1e-12).all()
        assert (upper >= smallest - 1e-12).all()
        assert (crown.crown(net, region, rows, slope) <= smallest + 1e-12).all()
        assert (crown.crown_ibp(net, region, rows, slope) <= smallest + 1e-12).all()


def _residual_weights(rng):
    return (
        rng.normal(size=(6, 4)),
        [rng.normal(size=(5, 6)), rng.normal(size=(6, 5))],
        rng.normal(size=(4, 6)),
    )


@pytest.mark.parametrize("norm", [1.0, np.inf])
def test_enumeration_is_the_milp_optimum_and_is_attained(norm):
    rng = np.random.default_rng(4)
    net, row = random_mlp(rng, [3, 5, 5, 3]), nets.margin_rows(3, 0)[0]
    region = random_set(rng, 3, norm, clipped=True)
    exact, patterns = enumeration.minimum_and_patterns(net, region, row)
    assert patterns > 3
    sampled = (nets.forward(net, sampling.points(region, 20000, rng)) @ row).min()
    assert exact <= sampled + 1e-9
    assert exact >= sampled - 0.1
    if np.isinf(norm):
        optimum, _, attained = milp.minimum_and_point(net, region, row)
        assert attained == pytest.approx(exact, abs=1e-6)
        assert optimum == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("clipped", [False, True])
def test_planar_enumeration_over_a_disc_is_attained_by_a_fine_grid(clipped):
    rng = np.random.default_rng(5)
    net, row = random_mlp(rng, [2, 4, 4, 2]), np.array([1.0, -1.0])
    region = random_set(rng, 2, 2, clipped)
    exact, patterns = enumeration.minimum_and_patterns(net, region, row)
    angle = np.linspace(0, 2 * np.pi, 1201)
    radius = np.linspace(0, 1, 301)[:, None, None]
    disc = region.center + region.radius * radius * np.stack([np.cos(angle), np.sin(angle)], -1)
    grid = np.clip(disc.reshape(-1, 2), region.lower, region.upper)
    sampled = (nets.forward(net, grid) @ row).min()
    assert patterns > 1
    assert exact <= sampled + 1e-9
    assert exact >= sampled - 1e-2


def test_milp_of_a_residual_net_is_below_samples_and_above_crown():
    rng = np.random.default_rng(6)
    net, row = nets.residual(*_residual_weights(rng)), nets.margin_rows(4, 1)[0]
    region = random_set(rng, 4, np.inf, clipped=True)
    optimum, _, attained = milp.minimum_and_point(net, region, row)
    sampled = (nets.forward(net, sampling.points(region, 20000, rng)) @ row).min()
    assert optimum == pytest.approx(attained, abs=1e-5)
    assert attained <= sampled + 1e-9
    assert crown.crown(net, region, row[None])[0] <= attained + 1e-9


# theses/1, test vectors of the two-layer COAP example: output = a relu(theta @ x) + b, only the first
# coordinate moves by 1.5; theta = (1, .5, -.3), a = 2, b = -1; the label is the sign of the output.
@pytest.mark.parametrize(
    ("x", "sign", "bounds", "exact", "dual_value"),
    [
        ((2.0, -4.0, 1.0), 1.0, (-1.8, 1.2), -1.0, -2.44),
        ((2.0, 1.0, 1.0), 1.0, (0.7, 3.7), 0.4, 0.4),
        ((-2.0, 3.0, 1.0), -1.0, (-2.3, 0.7), -0.4, -0.4),
        ((2.0, -9.0, 1.0), 1.0, (-4.3, -1.3), -1.0, -1.0),
    ],
)
def test_closed_form_of_the_two_layer_dual(x, sign, bounds, exact, dual_value):
    net = nets.mlp([np.array([[1.0, 0.5, -0.3]]), np.array([[2.0]])], [np.zeros(1), np.array([-1.0])])
    region = sets.ball(x, np.array([1.5, 0.0, 0.0]), np.inf)
    row = np.array([sign])
    lower, upper = crown.preactivations(net, region, crown.parallel)[1]
    assert (lower[0], upper[0]) == pytest.approx(bounds, abs=1e-12)
    assert dual.lower(net, region, row[None])[0] == pytest.approx(dual_value, abs=1e-12)
    assert crown.fast_lin(net, region, row[None])[0] == pytest.approx(dual_value, abs=1e-12)
    assert enumeration.minimum(net, region, row) == pytest.approx(exact, abs=1e-9)


def test_zero_radius_gives_the_value():
    rng = np.random.default_rng(7)
    net, rows = random_mlp(rng, [4, 6, 6, 3]), nets.margin_rows(3, 0)
    x = rng.random(4)
    for norm in (1.0, 2.0, np.inf):
        region = sets.ball(x, 0.0, norm, (0.0, 1.0))
        expected = rows @ nets.forward(net, x)
        assert crown.crown(net, region, rows) == pytest.approx(expected, abs=1e-12)
        assert dual.lower(net, region, rows) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("groups", "dilation"), [(1, (1, 1)), (2, (2, 1))])
def test_conv_matrix_is_a_sliding_window(groups, dilation):
    rng = np.random.default_rng(8)
    kernel = rng.normal(size=(2, 3, 4 // groups, 6))
    matrix, shape = nets.conv_matrix(kernel, (6, 7, 4), (2, 1), ((1, 0), (0, 2)), dilation, groups)
    image = rng.normal(size=(6, 7, 4))
    padded = np.pad(image, ((1, 0), (0, 2), (0, 0)))
    expected = np.zeros(shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            window = padded[2 * row :: dilation[0], column :: dilation[1]][:2, :3]
            for out in range(6):
                group = out // (6 // groups)
                part = window[..., group * (4 // groups) : (group + 1) * (4 // groups)]
                expected[row, column, out] = (part * kernel[..., out]).sum()
    assert (matrix @ image.ravel()).reshape(shape) == pytest.approx(expected, abs=1e-12)


def test_finite_differences_of_a_cubic():
    def cubic(x):
        return (x**3).sum()

    x, v = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, -1.0])
    assert finite.gradient(cubic, x) == pytest.approx(3 * x**2, rel=1e-8)
    assert finite.hessian_vector(lambda y: 3 * y**2, x, v) == pytest.approx(6 * x * v, rel=1e-8)
    assert finite.is_smooth(cubic, x, v)
    assert not finite.is_smooth(lambda y: np.abs(y).sum(), np.array([0.0]), np.array([1.0]))


def load_tiny(data_dir, name):
    arrays = np.load(data_dir / "reference" / f"exact_tiny_mlp_{name}.npz")
    record = json.loads((data_dir / "reference" / f"exact_tiny_mlp_{name}.json").read_text())
    net = nets.mlp([arrays[f"W{i}"] for i in range(3)], [arrays[f"b{i}"] for i in range(3)])
    return net, arrays["X"], record["entries"]


def tiny_case(net, inputs, entry):
    clip = None if entry["clip"] is None else tuple(entry["clip"])
    region = sets.ball(inputs[entry["input"]], entry["eps"], np.inf, clip)
    return region, nets.margin_rows(3, entry["label"]), entry["margins"]


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_recorded_bounds_of_tiny_networks(data_dir, name):
    net, inputs, entries = load_tiny(data_dir, name)
    for entry in entries:
        region, rows, recorded = tiny_case(net, inputs, entry)
        elided = interval.propagate(merged(net, rows), region)[-1][0]
        assert elided == pytest.approx(recorded["IBP"], abs=1e-10)
        assert crown.crown_ibp(net, region, rows) == pytest.approx(recorded["CROWN-IBP"], abs=1e-10)
        assert crown.crown(net, region, rows) == pytest.approx(recorded["CROWN"], abs=1e-10)
        assert dual.lower(net, region, rows) == pytest.approx(recorded["CROWN-same-slope"], abs=1e-10)
        for node, theirs in zip((1, 3), entry["crown_preactivation_bounds"], strict=True):
            lower, upper = crown.preactivations(net, region)[node]
            assert lower == pytest.approx(theirs["lower"], abs=1e-10)
            assert upper == pytest.approx(theirs["upper"], abs=1e-10)


def merged(net, rows):
    """The specification folded into the last affine node, as the recorded IBP does."""
    last = net[-1]
    return (*net[:-1], nets.Affine(last.parent, rows @ last.weight, rows @ last.bias))


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_recorded_exact_optima_of_tiny_networks(data_dir, name):
    net, inputs, entries = load_tiny(data_dir, name)
    for entry in entries[:: len(entries) // 6]:
        region, rows, recorded = tiny_case(net, inputs, entry)
        for k, row in enumerate(rows):
            assert enumeration.minimum(net, region, row) == pytest.approx(
                recorded["exact-enumeration"][k], abs=1e-8
            )
            attained = milp.minimum_and_point(net, region, row)[2]
            assert attained == pytest.approx(recorded["exact-attained"][k], abs=1e-6)
