"""Sets over several inputs, and the flat vector in which engines see them."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError
from jaxcert.regions.types import Box, LpBall, Product, Region


def product(parts: Any) -> Product:
    """Return the set of all combinations of inputs, each from a region of its own.

    The function bounded over it takes one argument: a pytree like `parts` with an array in the
    place of every region. Weights can be such inputs too: a region over parameters.

    Args:
      parts: a tuple, list, dict or other pytree whose leaves are regions (`linf_ball`, `box`, ...),
        all of one dtype. Products do not nest: nest the trees instead.

    Returns:
      A `Product`: for engines a set of flat vectors of shape `(total size,)`. What an engine or an
      attack returns per input entry (coefficients, the worst point) has this shape; `unpack` gives
      it the structure of `parts`.

    Raises:
      InvalidInputError: no region, a leaf that is not one, different dtypes.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> shift = jc.box(jnp.array(1.0), jnp.array(2.0))
      >>> region = jc.product({"x": jc.linf_ball(jnp.ones(2), 0.1), "shift": shift})
      >>> bounds = jc.ibp()(lambda inputs: inputs["x"].sum() - inputs["shift"], region)
      >>> round(float(bounds.lower), 3), round(float(bounds.upper), 3)
      (-0.2, 1.2)
    """
    leaves = jax.tree_util.tree_leaves(parts, is_leaf=lambda v: isinstance(v, Region))
    for leaf in leaves:
        if not isinstance(leaf, LpBall | Box):
            raise InvalidInputError(
                f"a product needs regions, got {type(leaf).__name__}: build each part with linf_ball, "
                "l2_ball, l1_ball, lp_ball or box, and nest trees rather than products."
            )
    dtypes = sorted({str(leaf.dtype) for leaf in leaves})
    if len(dtypes) != 1:
        raise InvalidInputError(
            f"a product needs at least one region, and one dtype for all, got {dtypes}: convert the parts."
        )
    return Product(parts)


def unpack(region: Product, flat: jax.Array) -> Any:
    """Return the arrays of a flat vector, in the structure of the product's parts.

    Args:
      region: the product.
      flat: `[*S, total]`: a point, or coefficients with leading axes.

    Returns:
      A pytree like `region.parts` with `[*S, *shape of the part]` for every region.

    Raises:
      InvalidInputError: another last axis.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> region = jc.product((jc.linf_ball(jnp.zeros((2, 2)), 0.1), jc.linf_ball(jnp.zeros(()), 0.1)))
      >>> [value.shape for value in jc.regions.unpack(region, jnp.zeros((7, 5)))]
      [(7, 2, 2), (7,)]
    """
    if flat.ndim == 0 or flat.shape[-1] != region.shape[0]:
        raise InvalidInputError(
            f"the product packs {region.shape[0]} entries into the last axis, got shape {flat.shape}."
        )
    return jax.tree_util.tree_unflatten(region.structure, split(region, flat))


def pack(region: Product, values: Any) -> jax.Array:
    """Return the flat vector `[*S, total]` of a pytree like the product's parts: the inverse of `unpack`.

    Raises:
      InvalidInputError: another structure, or arrays `[*S, *shape of the part]` that do not fit.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> region = jc.product({"b": jc.linf_ball(jnp.zeros(2), 0.1), "a": jc.linf_ball(jnp.zeros(1), 0.1)})
      >>> jc.regions.pack(region, {"a": jnp.array([1.0]), "b": jnp.array([2.0, 3.0])}).tolist()
      [1.0, 2.0, 3.0]
    """
    leaves, structure = jax.tree_util.tree_flatten(values)
    if structure != region.structure:
        raise InvalidInputError(f"the inputs have the structure {structure}, the product {region.structure}.")
    rows = []
    for part, leaf in zip(region.members, leaves, strict=True):
        value = jnp.asarray(leaf, region.dtype)
        lead = value.ndim - len(part.shape)
        if lead < 0 or value.shape[lead:] != part.shape:
            raise InvalidInputError(
                f"an input of the product must end with shape {part.shape}, got {value.shape}."
            )
        rows.append(value.reshape(*value.shape[:lead], -1))
    return jnp.concatenate(rows, axis=-1)


def flattened(fn: Callable[..., jax.Array], region: Region) -> Callable[[jax.Array], jax.Array]:
    """Return `fn` as a function of one array: of the flat vector where the region is a product.

    Example:
      >>> import jax.numpy as jnp, jaxcert as jc
      >>> region = jc.product((jc.linf_ball(jnp.zeros(2), 0.1), jc.linf_ball(jnp.zeros(2), 0.1)))
      >>> jc.regions.flattened(lambda inputs: inputs[0] - inputs[1], region)(jnp.arange(4.0)).tolist()
      [-2.0, -2.0]
    """
    if not isinstance(region, Product):
        return fn
    return lambda flat: fn(unpack(region, flat))


def split(region: Product, flat: jax.Array) -> list[jax.Array]:
    """The pieces `[*S, *shape]` of a flat vector, in the order of the product's members."""
    pieces, start = [], 0
    for part in region.members:
        size = math.prod(part.shape)
        piece = jax.lax.slice_in_dim(flat, start, start + size, axis=flat.ndim - 1)
        pieces.append(piece.reshape(*flat.shape[:-1], *part.shape))
        start += size
    return pieces


def joined(region: Product, pieces: list[jax.Array]) -> jax.Array:
    """The flat vector `[*S, total]` of one piece `[*S, *shape]` per member: the inverse of `split`."""
    lead = pieces[0].ndim - len(region.members[0].shape)
    return jnp.concatenate([piece.reshape(*piece.shape[:lead], -1) for piece in pieces], axis=-1)
