"""Random training transformations of one image, as pure functions of the image and a key."""

import jax
import jax.numpy as jnp

from jaxcert.errors import InvalidInputError


def random_crop(image: jax.Array, padding: int, *, key: jax.Array) -> jax.Array:
    """Return `image` [H, W, C] shifted by up to `padding` pixels each way, black where it left.

    The image is padded with zeros on all four sides and a window of the old size is cut at an offset
    drawn uniformly. Batches: vmap over images and keys. Raises `InvalidInputError` for a negative
    padding or an array that is not [H, W, C].

    >>> import jax, jax.numpy as jnp
    >>> random_crop(jnp.ones((8, 8, 1)), 2, key=jax.random.key(0)).shape
    (8, 8, 1)
    """
    _check_image(image)
    if padding < 0:
        raise InvalidInputError(f"The crop padding must not be negative, got {padding}.")
    padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    row, column = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    return jax.lax.dynamic_slice(padded, (row, column, jnp.zeros_like(row)), image.shape)


def random_flip(image: jax.Array, *, key: jax.Array) -> jax.Array:
    """Return `image` [H, W, C] mirrored left to right with probability one half.

    Batches: vmap over images and keys. Raises `InvalidInputError` for an array that is not [H, W, C].

    >>> import jax, jax.numpy as jnp
    >>> random_flip(jnp.ones((8, 8, 1)), key=jax.random.key(0)).shape
    (8, 8, 1)
    """
    _check_image(image)
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1, :], image)


def _check_image(image: jax.Array) -> None:
    if image.ndim != 3:
        raise InvalidInputError(
            f"One image [H, W, C] is expected, got shape {image.shape}; use jax.vmap for a batch."
        )
