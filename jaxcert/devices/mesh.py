"""A mesh of devices: batches are shared out along its axis "data", everything else is copied to each device.

The axes are of the type Auto: a compiled program means what it means on one device, and XLA's partitioner
shares out the work, so results agree up to the order of floating-point sums.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxcert.errors import ConfigError

AXIS = "data"


@dataclass(frozen=True)
class MeshSpec:
    """How many devices share a batch; what `--mesh data=8` says.

    Raises:
      ConfigError: less than one device.
    """

    data: int

    def __post_init__(self) -> None:
        if self.data < 1:
            raise ConfigError(f"A mesh needs at least 1 device, got {AXIS}={self.data}.")


def parse_mesh(text: str) -> MeshSpec:
    """The mesh that a text such as `"data=8"` describes; touches no device.

    Raises:
      ConfigError: the text is not understood, names an axis that is not known, or one twice.

    >>> parse_mesh("data=8")
    MeshSpec(data=8)
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*(-?\d+)\s*", part)
        if found is None:
            raise ConfigError(f"A mesh is written as {AXIS}=NUMBER, such as {AXIS}=8, got {text!r}.")
        name, size = found[1], int(found[2])
        if name in sizes:
            raise ConfigError(f"The mesh {text!r} names the axis {name!r} twice: name it once.")
        if name != AXIS:
            raise ConfigError(f"The mesh {text!r} has the axis {name!r}: only {AXIS!r} is known, use that.")
        sizes[name] = size
    return MeshSpec(sizes[AXIS])


@dataclass(frozen=True)
class Devices:
    """The devices that a program runs on; made by `open_mesh`, or `ONE_DEVICE`.

    Attributes:
      mesh: with the one axis "data"; None leaves everything to JAX's default device, at no cost.
    """

    mesh: Mesh | None = None

    @property
    def count(self) -> int:
        """Number of devices that share a batch."""
        return 1 if self.mesh is None else self.mesh.devices.size

    @property
    def shared(self) -> NamedSharding | None:
        """The placement of batches: rows shared out among the devices."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec(AXIS))

    @property
    def copied(self) -> NamedSharding | None:
        """The placement of everything else: a copy on every device."""
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())

    def require_divides(self, batch_size: int) -> None:
        """Raises ConfigError unless the batch gives every device equally many rows."""
        if batch_size % self.count:
            raise ConfigError(
                f"The batch size {batch_size} cannot be shared out evenly among {self.count} devices: choose "
                f"a multiple of {self.count}, or a mesh whose size divides it."
            )

    def rounded_up(self, batch_size: int) -> int:
        """The smallest multiple of the number of devices that is not below `batch_size`."""
        return -(-batch_size // self.count) * self.count

    def rows(self, size: int) -> np.ndarray:
        """Which rows of a batch of `size` the devices of this process hold, in increasing order.

        All in a program of one process. `size` must be a multiple of the number of devices.
        """
        if self.shared is None:
            return np.arange(size)
        held = self.shared.addressable_devices_indices_map((size,)).values()
        return np.sort(np.concatenate([np.arange(size)[index] for index in held]))

    def batch(self, part: np.ndarray, size: int) -> Any:
        """The whole batch `[size, ...]` of which `part` holds this process's `rows(size)`."""
        if self.shared is None:
            return part
        rows = self.rows(size)

        def piece(index: Any) -> np.ndarray:
            start, stop, _ = index[0].indices(size)
            first = int(np.searchsorted(rows, start))
            return part[first : first + stop - start]

        return jax.make_array_from_callback((size, *part.shape[1:]), self.shared, piece)

    def spread(self, whole: np.ndarray) -> Any:
        """A batch that every process holds as a whole."""
        return whole if self.mesh is None else self.batch(whole[self.rows(len(whole))], len(whole))

    def copies(self, tree: Any) -> Any:
        """The arrays of `tree`, equal in all processes, with a copy on every device."""
        placement = self.copied
        if placement is None:
            return tree
        if placement.is_fully_addressable:
            return jax.device_put(tree, placement)
        return jax.tree.map(lambda leaf: _copy(leaf, placement), tree)

    def compile_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step(state, images, labels) -> (state, metrics)`, jitted; the state's memory is used again.

        On a mesh images and labels are shared out, and everything else is copied, before and after.
        """
        if self.mesh is None:
            return jax.jit(step, donate_argnums=0)
        mesh = self.mesh.abstract_mesh

        def aware(state: Any, images: Any, labels: Any) -> Any:
            with jax.sharding.use_abstract_mesh(mesh):  # forms of computing a batch may depend on it
                return step(state, images, labels)

        return jax.jit(
            aware,
            donate_argnums=0,
            in_shardings=(self.copied, self.shared, self.shared),
            out_shardings=self.copied,
        )

    def fetch(self, tree: Any) -> Any:
        """The arrays of `tree` as whole numpy arrays, in every process.

        With several processes this is a collective: all of them must call it.
        """
        whole = all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in jax.tree.leaves(tree))
        return (
            jax.tree.map(np.asarray, tree) if whole else multihost_utils.process_allgather(tree, tiled=True)
        )


def _copy(leaf: jax.Array, placement: NamedSharding) -> jax.Array:
    """An array of this process, equal in all, on all devices of all processes."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _copy(jax.random.key_data(leaf), placement)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    if leaf.sharding == placement:
        return leaf
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, placement, lambda index: whole[index])


ONE_DEVICE = Devices()
"""JAX's default device: no mesh."""


def open_mesh(spec: MeshSpec | None) -> Devices:
    """The devices that `spec` asks for: the first `spec.data` of this process, or all of several processes.

    Without a spec: one device, or all devices of all processes where there are several.

    Raises:
      ConfigError: there are fewer devices, or, with several processes, another number than there are.

    >>> open_mesh(None).count
    1
    """
    available = jax.device_count()
    several = jax.process_count() > 1
    if spec is None and not several:
        return ONE_DEVICE
    wanted = available if spec is None else spec.data
    if wanted > available:
        raise ConfigError(
            f"The mesh asks for {wanted} devices, but JAX sees {available} ({jax.default_backend()}): ask "
            f"for at most {available}."
        )
    if several and wanted != available:
        raise ConfigError(
            f"The {jax.process_count()} processes have {available} devices together and must use all, but "
            f"the mesh asks for {wanted}: leave --mesh out or say {AXIS}={available}."
        )
    chosen = jax.devices()[:wanted]
    return Devices(jax.make_mesh((wanted,), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen))
