"""What an attack asks of a network: loss and logits at a point, with everything else held constant."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxcert.attacks.expectation import Expectation
from jaxcert.attacks.objectives import Anchored, Objective
from jaxcert.errors import InvalidInputError
from jaxcert.kernels.substitute import with_kernels
from jaxcert.regions import Region, flattened

Network = Callable[..., jax.Array]
Logits = Callable[[jax.Array, jax.Array], jax.Array]
"""`(x, key) -> logits [K]`; only randomised networks use the key."""
Answer = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""`(x, key) -> (loss, logits)`; attacks give another key at every step."""


def logits_of(fn: Network | Expectation, region: Region, label: ArrayLike) -> Logits:
    """`(x, key) -> logits [K]`, with all that `fn` closes over held constant.

    Of an `Expectation` they are its prediction.

    The parameters inside `fn` may be differentiated by the caller. Hoisting and stopping them
    keeps that differentiation out of the attack's loop, where it would store every step for nothing.

    Raises:
      InvalidInputError: logits not of rank 1 or of fewer than two classes, a label that is not an integer
        scalar or, where it is concrete, out of range.
    """
    draws, predict = _draws(fn, region)
    logits = lambda x, key: predict(draws(x, key))
    _check(logits, region, label)
    return logits


def answer_of(
    fn: Network | Expectation, loss: Objective | Anchored, region: Region, label: ArrayLike
) -> Answer:
    """`(x, key) -> (loss, logits)`; of an `Expectation` the mean loss of its draws, and its prediction.

    Raises:
      InvalidInputError: as `logits_of`, and a loss that is not a scalar.
    """
    draws, predict = _draws(fn, region)
    logits = lambda x, key: predict(draws(x, key))
    _check(logits, region, label)
    label = as_label(label)
    if isinstance(loss, Anchored):
        loss = loss.anchored(jax.lax.stop_gradient(logits(region.center, jax.random.key(0))))
    of_one = lambda z: loss(z, label)

    def answer(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = draws(x, key)
        return jnp.mean(jax.vmap(of_one)(found), axis=0), predict(found)

    def plain(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = logits(x, key)
        return of_one(found), found

    chosen = answer if isinstance(fn, Expectation) else plain
    value = jax.eval_shape(chosen, *_example(region))[0]
    if value.shape != ():
        raise InvalidInputError(
            f"An attack's loss must be a scalar per example, but got shape {value.shape}."
        )
    return chosen


def classes_of(logits: Logits, region: Region) -> int:
    """The number of classes."""
    return jax.eval_shape(logits, *_example(region)).shape[0]


def as_label(label: ArrayLike) -> jax.Array:
    """The label as an integer scalar that may be -1.

    Raises:
      InvalidInputError: it is something else.
    """
    label = jnp.asarray(label)
    if label.ndim != 0 or not jnp.issubdtype(label.dtype, jnp.integer):
        raise InvalidInputError(
            f"An attack takes the label of one example, an integer scalar, but got shape {label.shape} of "
            f"type {label.dtype}; use jax.vmap over a batch."
        )
    return label.astype(jnp.int64 if label.dtype.itemsize == 8 else jnp.int32)


def _draws(fn: Network | Expectation, region: Region) -> tuple[Logits, Callable[[jax.Array], jax.Array]]:
    """`(x, key) -> ` what the network says, and how logits come of that."""
    if isinstance(fn, Expectation):
        random, samples = fn.fn, fn.samples

        def draws(x, key):
            one = lambda key: flattened(lambda z: random(z, key), region)(x)
            return jax.vmap(one)(jax.random.split(key, samples))

        return _frozen(draws, region), fn.predict
    known = flattened(fn, region)
    return _frozen(lambda x, key: known(x), region), lambda found: found


def _frozen(network: Logits, region: Region) -> Logits:
    """With stopped parameters, and with convolutions that stay fast in an attack's loop on a CPU."""
    network, parameters = jax.closure_convert(with_kernels(network), *_example(region))
    parameters = jax.lax.stop_gradient(parameters)

    def answered(x, key):
        # A point that is NaN (an invalid region, a broken image) has no answer, also where the network
        # would pass NaN over (by `where(x > 0, x, 0)`, or because it is constant).
        return jnp.where(jnp.any(jnp.isnan(x)), jnp.nan, network(x, key, *parameters))

    return answered


def _example(region: Region) -> tuple[jax.ShapeDtypeStruct, jax.Array]:
    return jax.ShapeDtypeStruct(region.shape, region.dtype), jax.random.key(0)


def _check(logits: Logits, region: Region, label: ArrayLike) -> None:
    as_label(label)
    shape = jax.eval_shape(logits, *_example(region)).shape
    if len(shape) != 1 or shape[0] < 2:
        raise InvalidInputError(
            f"An attack needs a function that maps one example to logits [K] with K >= 2, but it returned "
            f"shape {shape}; remove the batch axis inside it and use jax.vmap outside."
        )
    # numpy, not jax.numpy: under jit even a constant becomes a tracer once JAX has touched it.
    if not isinstance(label, Tracer) and not 0 <= int(np.asarray(label)) < shape[0]:
        raise InvalidInputError(
            f"The label is {label}, but the network has classes 0 to {shape[0] - 1}; check the data."
        )
