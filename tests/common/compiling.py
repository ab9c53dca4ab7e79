"""Compiling for tests: programs here run a few milliseconds, so XLA's optimiser costs more than it saves."""

from collections.abc import Callable

import jax


def quick_jit(fn: Callable) -> Callable:
    """`jax.jit` with the CPU optimiser off: half the compile time, the same program."""
    return jax.jit(fn, compiler_options={"xla_backend_optimization_level": 0})


def quick_jit_each(make: Callable, methods: dict) -> Callable:
    """The dictionary of `make(method)(*args)`, each a program of its own: large ones compile slowly."""
    programs = {name: quick_jit(make(method)) for name, method in methods.items()}
    return lambda *args: {name: program(*args) for name, program in programs.items()}
