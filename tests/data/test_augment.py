import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcert.data import random_crop, random_flip
from jaxcert.errors import InvalidInputError

IMAGE = jnp.arange(1.0, 61.0).reshape(4, 5, 3)


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """`image` moved by whole pixels, zeros coming in."""
    height, width, _ = image.shape
    result = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[row, column] = image[row - down, column - right]
    return result


def test_crop_is_one_of_the_shifts_and_all_are_drawn():
    keys = jax.random.split(jax.random.key(0), 400)
    crops = np.asarray(jax.jit(jax.vmap(lambda key: random_crop(IMAGE, 1, key=key)))(keys))
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    counts = [
        int((crops == shifted(np.asarray(IMAGE), *shift)).all(axis=(1, 2, 3)).sum()) for shift in shifts
    ]
    assert sum(counts) == 400
    assert min(counts) > 20  # 44 expected of each, standard deviation 6


def test_crop_without_padding_changes_nothing():
    np.testing.assert_array_equal(random_crop(IMAGE, 0, key=jax.random.key(1)), IMAGE)


def test_flip_mirrors_columns_half_of_the_time():
    keys = jax.random.split(jax.random.key(0), 400)
    flips = np.asarray(jax.jit(jax.vmap(lambda key: random_flip(IMAGE, key=key)))(keys))
    same = (flips == np.asarray(IMAGE)).all(axis=(1, 2, 3))
    mirrored = (flips == np.asarray(IMAGE)[:, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 150 < same.sum() < 250  # 200 expected, standard deviation 10


def test_augmentation_refuses_batches_and_negative_padding():
    with pytest.raises(InvalidInputError, match="vmap"):
        random_crop(IMAGE[None], 1, key=jax.random.key(0))
    with pytest.raises(InvalidInputError, match="vmap"):
        random_flip(IMAGE[None], key=jax.random.key(0))
    with pytest.raises(InvalidInputError, match="-1"):
        random_crop(IMAGE, -1, key=jax.random.key(0))
