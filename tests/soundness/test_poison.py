"""Bad input never certifies: whatever is broken, traced or not, the verdict is no.

The network is so robust that clean input certifies with every method; each corruption must turn that off.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcert as jc
from tests.common.compiling import quick_jit
from tests.common.methods import METHODS
from tests.common.regions import KINDS

INPUTS, HIDDEN, CLASSES = 4, 5, 3


def robust_params():
    """Logit 1 exceeds the others by 50 or more on the whole unit cube; some neurons are dead, some active."""
    rng = np.random.default_rng(0)
    return {
        "w0": jnp.asarray(0.3 * rng.normal(size=(INPUTS, HIDDEN)), jnp.float32),
        "b0": jnp.asarray([-9.0, 9.0, 0.1, -0.1, 0.0], jnp.float32),
        "w1": jnp.asarray(0.3 * rng.normal(size=(HIDDEN, CLASSES)), jnp.float32),
        "b1": jnp.asarray([0.0, 60.0, -5.0], jnp.float32),
    }


def network(params, x):
    return jax.nn.relu(x @ params["w0"] + params["b0"]) @ params["w1"] + params["b1"]


def parts(eps=0.05):
    half = jnp.full(INPUTS, 0.5)
    ends = {"lower": jnp.zeros(INPUTS), "upper": jnp.ones(INPUTS)}
    return {"center": half, "radius": jnp.full(INPUTS, eps), **ends}


def verdicts(kind):
    """Whether each method certifies, as one function."""

    def certified(params, parts, label):
        fn, region = (lambda x: network(params, x)), kind.build(parts)
        return {m: jc.is_certified(jc.margins(method, fn, region, label)) for m, method in METHODS.items()}

    return certified


def corrupted(tree):
    """Every way to replace one entry of one leaf by NaN, inf or -inf, stacked."""
    leaves, structure = jax.tree.flatten(tree)
    stacks = [[] for _ in leaves]
    for position, leaf in enumerate(leaves):
        for index in range(leaf.size):
            for value in (jnp.nan, jnp.inf, -jnp.inf):
                for other, (stack, clean) in enumerate(zip(stacks, leaves, strict=True)):
                    broken = clean.reshape(-1).at[index].set(value).reshape(clean.shape)
                    stack.append(broken if other == position else clean)
    return jax.tree.unflatten(structure, [jnp.stack(stack) for stack in stacks])


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[3], KINDS[4], KINDS[6]], ids=str)
def test_one_bad_weight_is_enough(kind):
    certified = quick_jit(jax.vmap(verdicts(kind), in_axes=(0, None, None)))
    clean = jax.tree.map(lambda leaf: leaf[None], robust_params())
    assert all(bool(flags.all()) for flags in certified(clean, parts(), 1).values())
    broken = corrupted(robust_params())
    # A bias of -inf merely switches a ReLU off: there the network is finite and may be certified.
    values = jax.vmap(network, in_axes=(0, None))(broken, parts()["center"])
    unsound = ~jnp.isfinite(values).all(axis=-1)
    assert int(unsound.sum()) > len(unsound) // 2
    for name, flags in certified(broken, parts(), 1).items():
        bad = flags & unsound
        assert not bool(bad.any()), (
            f"{name} certified {int(bad.sum())} of {len(bad)}, first {int(bad.argmax())}"
        )


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_bad_inputs_radii_and_labels(kind):
    def stack(*, label=1, **changes):
        return {**parts(), **changes}, label

    half = jnp.full(INPUTS, 0.5)
    cases = [stack(label=k) for k in (-1, CLASSES, 10**6)]
    for value in (jnp.nan, jnp.inf, -jnp.inf):
        if kind.norm is None:
            cases += [stack(lower=half.at[2].set(value)), stack(upper=half.at[1].set(value))]
        else:
            cases += [stack(center=half.at[2].set(value)), stack(radius=jnp.full(INPUTS, value))]
            cases += [stack(radius=jnp.zeros(INPUTS).at[0].set(value))]
    if kind.norm is None:
        cases.append(stack(lower=jnp.ones(INPUTS), upper=jnp.zeros(INPUTS)))
    else:
        cases.append(stack(radius=half.at[0].set(-1e-3)))
    if kind.clipped:
        cases += [stack(center=half.at[0].set(1.01)), stack(upper=jnp.zeros(INPUTS))]
        cases += [stack(lower=half.at[0].set(jnp.nan)), stack(upper=half.at[0].set(jnp.nan))]
    stacked, labels = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *[c[0] for c in cases]),
        [c[1] for c in cases],
    )
    jitted = quick_jit(verdicts(kind))
    batched = quick_jit(jax.vmap(verdicts(kind), in_axes=(None, 0, 0)))
    of_batch = batched(robust_params(), stacked, jnp.array(labels))
    assert all(jitted(robust_params(), *stack()).values())
    for i, (changed, label) in enumerate(cases):
        alone = jitted(robust_params(), changed, label)
        for name in METHODS:
            assert not bool(of_batch[name][i]), f"{name} under vmap certified {changed} label {label}"
            assert not bool(alone[name]), f"{name} under jit certified {changed} label {label}"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda x: jc.linf_ball(x, -0.1), "eps"),
        (lambda x: jc.linf_ball(x, jnp.nan), "eps"),
        (lambda x: jc.l2_ball(x, jnp.inf), "eps"),
        (lambda x: jc.linf_ball(x.at[0].set(jnp.nan), 0.1), "NaN"),
        (lambda x: jc.linf_ball(x, jnp.ones(2)), "shape"),
        (lambda x: jc.linf_ball(x + 1, 0.1, clip=(0.0, 1.0)), "clip"),
        (lambda x: jc.linf_ball(x, 0.1, clip=(1.0, 0.0)), "clip"),
        (lambda x: jc.lp_ball(x, 0.1, 0.5), "norm"),
        (lambda x: jc.box(x, x - 1), "lower"),
        (lambda x: jc.linf_ball(jnp.arange(4), 0.1), "float"),
    ],
)
def test_concrete_bad_regions_raise_one_sentence(broken, message):
    with pytest.raises(jc.errors.InvalidInputError, match=message) as caught:
        broken(jnp.full(INPUTS, 0.5))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("label", [-1, CLASSES, 1.0])
def test_concrete_bad_labels_raise(label):
    fn = lambda x: network(robust_params(), x)
    with pytest.raises(jc.errors.InvalidInputError, match="label"):
        jc.margins(jc.crown(), fn, KINDS[0].build(parts()), label)


def test_overflow_never_certifies():
    params = robust_params()
    params["w0"] = params["w0"] * 1e38
    params["w1"] = params["w1"] * 1e38
    assert not any(quick_jit(verdicts(KINDS[0]))(params, parts(), 1).values())
