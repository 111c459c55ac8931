"""The integer arithmetic against plain float computations."""

import math

import numpy as np
import pytest

from toolkit.painting import integer


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(5))


def test_sines_are_within_rounding_of_the_true_ones() -> None:
    for angle in range(-70, 140):
        turn = 2 * math.pi * angle / integer.TURN
        assert abs(integer.sine(angle) - 1024 * math.sin(turn)) <= 0.51
        assert abs(integer.cosine(angle) - 1024 * math.cos(turn)) <= 0.51


def test_opponent_space_is_ycocg_and_comes_back_exactly(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, size=(40, 30, 3), dtype=np.uint8)
    opponent = integer.to_opponent(picture)
    matrix = np.array([[1, 2, 1], [2, 0, -2], [-1, 2, -1]])
    np.testing.assert_array_equal(opponent, picture.astype(int) @ matrix.T)
    np.testing.assert_array_equal(integer.from_opponent(opponent), picture)


def test_luma_is_close_to_bt601(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, size=(40, 30, 3), dtype=np.uint8)
    expected = picture @ np.array([0.299, 0.587, 0.114])
    assert np.abs(integer.luma(picture) - expected).max() < 1.0


@pytest.mark.parametrize("radius", [0, 1, 3, 7])
def test_box_blur_is_the_rounded_mean(rng: np.random.Generator, radius: int) -> None:
    plane = rng.integers(-500, 500, size=(21, 17), dtype=np.int32)
    padded = np.pad(plane, radius, mode="edge")
    side = 2 * radius + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    # One rounding per axis: at most half a level each.
    assert np.abs(integer.box_blur(plane, radius) - windows.mean(axis=(2, 3))).max() <= 1.0


def test_blur_keeps_constants_and_channels_apart() -> None:
    picture = np.zeros((20, 20, 3), dtype=np.int32) + np.array([7, -30, 255])
    np.testing.assert_array_equal(integer.blur(picture, 3), picture)


def test_sobel_of_a_ramp_is_eight_times_its_slope() -> None:
    y, x = np.mgrid[0:12, 0:15]
    across, down = integer.sobel(3 * x - 2 * y)
    assert (across[1:-1, 1:-1] == 24).all()
    assert (down[1:-1, 1:-1] == -16).all()


def test_root_is_the_floor_of_the_square_root(rng: np.random.Generator) -> None:
    values = np.concatenate((np.arange(300), rng.integers(0, 2**31 - 1, size=500), [2**31 - 1]))
    assert integer.root(values).tolist() == [math.isqrt(int(value)) for value in values]


def test_ramp_passes_through_its_anchors() -> None:
    table = integer.ramp(((0, 10, 20), (100, 110, 120), (255, 0, 255)))
    assert table[0].tolist() == [0, 10, 20]
    assert table[255].tolist() == [255, 0, 255]
    assert np.abs(table[127] - [100, 110, 120]).max() <= 1
    assert (np.diff(table[:, 0]) >= 0).all()


def test_stretch_spans_the_range_but_leaves_plain_surfaces_calm() -> None:
    ramp = np.arange(100, 200, dtype=np.int32).reshape(10, 10)
    assert integer.stretch(ramp).min() == 0
    assert integer.stretch(ramp).max() == 255
    noise = np.array([[128, 130], [127, 129]], dtype=np.int32)
    assert np.ptp(integer.stretch(noise)) <= 12
    for tone in (0, 20, 128, 250, 255):
        plain = integer.stretch(np.full((5, 5), tone, dtype=np.int32))
        assert np.abs(plain - tone).max() <= 3


def test_smooth_noise_is_smooth_and_bounded(rng: np.random.Generator) -> None:
    noise = integer.smooth_noise(rng, (64, 64), 6, 20)
    assert np.abs(noise).max() <= 20
    assert noise.std() > 4
    assert np.abs(np.diff(noise, axis=1)).mean() < noise.std() / 2


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((20, 20), dtype=np.uint8),
        np.zeros((20, 20, 4), dtype=np.uint8),
        np.zeros((20, 20, 3), dtype=np.float32),
        np.zeros((4, 20, 3), dtype=np.uint8),
        [[0, 0, 0]],
    ],
)
def test_wrong_pictures_are_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"picture must (have|be)"):
        integer.check_picture(picture)
