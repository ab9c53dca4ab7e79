"""Cached perturbations under augmentation: windows of a padded canvas, and storage at a coarser grid."""

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxcert.errors import InvalidInputError

Offset = tuple[int | jax.Array, int | jax.Array] | jax.Array


def crop_cached(
    canvas: jax.Array, offset: Offset, flip: bool | jax.Array, size: tuple[int, int]
) -> jax.Array:
    """Return the window of the canvas that an image was cropped to, mirrored left to right where `flip`.

    The same crop and flip as the image's, before an attack's step. `canvas` is `[H, W, C]`, the
    window `[h, w, C]` with `size = (h, w)`, static; `offset = (row, column)` of its upper left corner and
    `flip`, a boolean, may be traced. A traced offset too large means the last window that fits, as in
    `jax.lax.dynamic_slice`. Batches by `jax.vmap`. Cost: one copy.

    Raises:
      InvalidInputError: an array that is not `[H, W, C]`, a window larger than the canvas, a concrete
        offset at which it does not fit.

    Source: theses/4b A5.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import crop_cached
    >>> canvas = jnp.arange(9.0).reshape(3, 3, 1)
    >>> crop_cached(canvas, (1, 0), True, (2, 2))[..., 0].tolist()
    [[4.0, 3.0], [7.0, 6.0]]
    """
    row, column = _checked(canvas, offset, size)
    window = jax.lax.dynamic_slice(canvas, (row, column, jnp.zeros_like(row)), (*size, canvas.shape[2]))
    return _mirrored(window, flip)


def paste_cached(canvas: jax.Array, offset: Offset, flip: bool | jax.Array, window: jax.Array) -> jax.Array:
    """Return the canvas with the window put back where `crop_cached` took it; the rest stays as it was.

    Arguments, errors and cost as there; `window` is `[h, w, C]`.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import paste_cached
    >>> canvas = jnp.arange(9.0).reshape(3, 3, 1)
    >>> paste_cached(canvas, (1, 0), True, jnp.zeros((2, 2, 1)))[..., 0].tolist()
    [[0.0, 1.0, 2.0], [0.0, 0.0, 5.0], [0.0, 0.0, 8.0]]
    """
    if window.ndim != 3 or window.shape[2:] != canvas.shape[2:]:
        raise InvalidInputError(f"The window {window.shape} and the canvas {canvas.shape} do not fit.")
    row, column = _checked(canvas, offset, (window.shape[0], window.shape[1]))
    window = _mirrored(window, flip).astype(canvas.dtype)
    return jax.lax.dynamic_update_slice(canvas, window, (row, column, jnp.zeros_like(row)))


def shrink_cached(canvas: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Return the canvas `[H, W, C]` on a coarser grid `[h, w, C]`: storage for large images.

    Bilinear, every stored entry a weighted mean of the canvas around it (`jax.image.resize` with
    antialiasing), so that no entry exceeds the largest: an l_inf perturbation stays one. What is
    lost is the fine pattern. Cost: O(H W C).

    Raises:
      InvalidInputError: an array that is not `[H, W, C]`, sizes below 1.

    Source: theses/4b A5, Section 5.1.4 (Algorithm 5.2) and 5.2.4: 32 x 32 for ImageNet.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import shrink_cached
    >>> shrink_cached(jnp.full((8, 8, 3), 0.5), (2, 2)).shape
    (2, 2, 3)
    """
    return _resized(canvas, size)


def enlarge_cached(stored: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Return a stored perturbation `[h, w, C]` on the grid `[H, W, C]` of the canvas, bilinear.

    The works enlarge 32 x 32 to 256 x 256 and crop 224 x 224 from it. Errors, cost and source as
    `shrink_cached`.

    >>> import jax.numpy as jnp
    >>> from jaxcert.attacks import enlarge_cached
    >>> enlarge_cached(jnp.array([[[0.0], [1.0]]]), (1, 4))[0, :, 0].tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    return _resized(stored, size)


def _resized(canvas: jax.Array, size: tuple[int, int]) -> jax.Array:
    _require_image(canvas)
    if min(size) < 1:
        raise InvalidInputError(f"The new size must be at least 1 x 1, got {size}.")
    return jax.image.resize(canvas, (*size, canvas.shape[2]), "bilinear")


def _mirrored(window: jax.Array, flip: bool | jax.Array) -> jax.Array:
    return jnp.where(flip, window[:, ::-1, :], window)


def _checked(canvas: jax.Array, offset: Offset, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    _require_image(canvas)
    room = tuple(whole - part for whole, part in zip(canvas.shape, size, strict=False))
    if min(room) < 0 or min(size) < 1:
        raise InvalidInputError(f"A window {size} does not fit into the canvas {canvas.shape}.")
    corner = (offset[0], offset[1])
    for start, most in zip(corner, room, strict=True):
        if not isinstance(start, Tracer) and not 0 <= int(start) <= most:
            raise InvalidInputError(
                f"The offset {tuple(map(int, corner))} is outside (0, 0) to {room}: the window would not fit."
            )
    row, column = (jnp.asarray(start, jnp.int32) for start in corner)
    return row, column


def _require_image(canvas: jax.Array) -> None:
    if canvas.ndim != 3:
        raise InvalidInputError(
            f"One perturbation [H, W, C] is expected, got shape {canvas.shape}; use jax.vmap for a batch."
        )
