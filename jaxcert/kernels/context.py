"""The one fact about its surroundings that a convolution cannot see: whether it runs in a loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_inside_loop: ContextVar[bool] = ContextVar("jaxcert_inside_loop", default=False)


@contextmanager
def inside_loop() -> Iterator[None]:
    """Mark the convolutions traced under it as running in the body of a compiled loop.

    On CPU, XLA compiles a convolution inside the body of `scan`, `fori_loop` or `while_loop`
    to a slow kernel unless it has the plain NHWC/HWIO form, so weight gradients need another
    form there than outside. Results agree to rounding; only speed changes. The mark is read when
    a function is traced: enter it inside the loop's body, around the calls of the network. A
    function that was jitted and traced before keeps the form it was traced with.

    >>> import jax, jax.numpy as jnp
    >>> from jaxcert import kernels
    >>> x, k = jnp.ones((1, 4, 4, 1)), jnp.ones((2, 2, 1, 1))
    >>> def step(_, k):
    ...     with kernels.inside_loop():
    ...         loss = lambda k: jnp.sum(kernels.conv(x, k, strides=(1, 1), padding="VALID") ** 2)
    ...         return k - 0.001 * jax.grad(loss)(k)
    >>> jax.lax.fori_loop(0, 2, step, k).shape
    (2, 2, 1, 1)
    """
    token = _inside_loop.set(True)
    try:
        yield
    finally:
        _inside_loop.reset(token)


def is_inside_loop() -> bool:
    """Whether `inside_loop` is active where this is called."""
    return _inside_loop.get()
