import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.inference.volumes import Block, BoxVolume


@pytest.fixture
def volume() -> BoxVolume:
    low = Block((1, 0, 2), np.full((2, 2, 1), 0.25, np.float32))
    high = Block((4, 3, 0), np.array([[[1.0, 0.5]]], np.float32))
    return BoxVolume((6, 5, 4), [low, high])


def dense() -> np.ndarray:
    whole = np.zeros((6, 5, 4), np.float32)
    whole[1:3, 0:2, 2:3] = 0.25
    whole[4, 3, 0:2] = 1.0, 0.5
    return whole


def test_the_inflated_map_has_the_blocks_and_zeros(volume: BoxVolume) -> None:
    np.testing.assert_array_equal(np.asarray(volume), dense())
    assert volume.shape == (6, 5, 4)
    assert volume.total == pytest.approx(4 * 0.25 + 1.5)


@given(st.tuples(*(st.tuples(st.integers(0, size), st.integers(0, size)) for size in (6, 5, 4))))
def test_a_part_is_that_part_of_the_whole(bounds: tuple[tuple[int, int], ...]) -> None:
    low = Block((1, 0, 2), np.full((2, 2, 1), 0.25, np.float32))
    high = Block((4, 3, 0), np.array([[[1.0, 0.5]]], np.float32))
    volume, box = BoxVolume((6, 5, 4), [low, high]), tuple(slice(*pair) for pair in bounds)
    np.testing.assert_array_equal(volume[box], dense()[box])


def test_other_indices_and_operators_see_the_whole_map(volume: BoxVolume) -> None:
    np.testing.assert_array_equal(volume[dense() > 0.3], [1.0, 0.5])
    np.testing.assert_array_equal(volume * 2 + dense(), dense() * 3)
    np.testing.assert_array_equal(volume[::2], dense()[::2])
    assert volume.max() == 1.0


def test_its_box_is_the_smallest_that_holds_all_blocks(volume: BoxVolume) -> None:
    assert volume.box == (slice(1, 5), slice(0, 4), slice(0, 3))
    assert BoxVolume((3, 3, 3), []).box == (slice(0, 0),) * 3


def test_a_total_may_count_what_was_too_small_to_be_kept() -> None:
    assert BoxVolume((3, 3, 3), [], total=1e-4).total == 1e-4
