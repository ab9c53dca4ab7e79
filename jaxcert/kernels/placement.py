"""Where arrays lie, as far as their types say so: under `shard_map`, and on meshes with Explicit axes.

Inside `shard_map` a type says along which mesh axes the values vary; on Explicit axes it says how the
dimensions are split. The three maps keep both: a result varies where an operand does, and is split along
the dimensions that it takes over from an operand. On meshes with Auto axes types say nothing of this.
"""

from collections.abc import Mapping

import jax
from jax.core import ShapedArray
from jax.sharding import ManualAxisType, NamedSharding, PartitionSpec

from jaxcert.errors import InvalidInputError


def aligned(*operands: jax.Array) -> tuple[jax.Array, ...]:
    """The operands, varying along the same axes: their transposes then sum over the devices."""
    varying = [jax.typeof(operand).manual_axis_type.varying for operand in operands]
    every = frozenset().union(*varying)
    return tuple(
        jax.lax.pcast(operand, tuple(sorted(every - own)), to="varying") if own != every else operand
        for operand, own in zip(operands, varying, strict=True)
    )


def result(name: str, shape, left, right, taken: Mapping[int, tuple[ShapedArray, int]]) -> ShapedArray:
    """The type of a result of `shape`; `taken`: its dimension -> the operand and dimension it comes from.

    Raises:
      InvalidInputError: an operand is split along Explicit axes in its pixels or summed channels, or both
        take over the same axis.
    """
    if not says_more(left) and not says_more(right):
        return ShapedArray(shape, left.dtype)
    _require_whole(name, left, right, taken)
    mesh = (left if says_more(left) else right).sharding.mesh
    spec: list = [None] * len(shape)
    for dimension, (operand, source) in taken.items():
        spec[dimension] = operand.sharding.spec[source] if says_more(operand) else None
    named = [axis for axis in spec if axis is not None]
    if len(set(named)) < len(named):
        raise InvalidInputError(
            f"{name} would be split along the mesh axis {named[0]!r} twice: reshard one operand so that it "
            "is whole."
        )
    return ShapedArray(
        shape,
        left.dtype,
        sharding=NamedSharding(mesh, PartitionSpec(*spec)),
        manual_axis_type=ManualAxisType(varying=_varying(left) | _varying(right)),
    )


def says_more(aval: ShapedArray) -> bool:
    """Whether the type says where the array lies."""
    mesh = aval.sharding.mesh
    return not mesh.empty and not mesh.are_all_axes_auto


def plain(aval: ShapedArray) -> ShapedArray:
    """Shape and dtype alone."""
    return ShapedArray(aval.shape, aval.dtype)


def shared_out() -> bool:
    """Whether the program is traced for a mesh over which XLA's partitioner may share out the batch."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and mesh.size > 1 and not mesh.are_all_axes_manual


def partitioned(mesh) -> jax.sharding.AbstractMesh:
    """The mesh as XLA's partitioner sees it: of Auto axes; none where each device runs its own program."""
    if mesh.manual_axes:
        return jax.sharding.AbstractMesh((), ())
    return jax.sharding.AbstractMesh(mesh.axis_sizes, mesh.axis_names)


def _varying(aval: ShapedArray) -> frozenset:
    return aval.manual_axis_type.varying


def _require_whole(name: str, left, right, taken) -> None:
    """Only the batch (dimension 0 of activations) and the dimensions that the result takes may be split."""
    for operand in (left, right):
        if not says_more(operand):
            continue
        manual, spec = operand.manual_axis_type, operand.sharding.spec
        if manual.unreduced or manual.reduced or spec.unreduced or spec.reduced:
            raise InvalidInputError(
                f"{name} got an operand whose sum over devices is still open (unreduced or reduced in its "
                "type): sum it first, or reshard it."
            )
        kept = {source for owner, source in taken.values() if owner is operand}
        for dimension, axis in enumerate(spec):
            if axis is not None and dimension not in kept and not (dimension == 0 and 0 not in taken):
                raise InvalidInputError(
                    f"{name} got an operand that is split along the mesh axis {axis!r} in dimension "
                    f"{dimension}: reshard it so that only the batch and the output channels are split."
                )
