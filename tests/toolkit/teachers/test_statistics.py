"""The weightless teacher against independent float computations."""

import dataclasses
import importlib.resources
import io

import numpy as np
import pytest
from PIL import Image

from toolkit.painting import styles
from toolkit.teachers import statistics
from toolkit.teachers.statistics import Settings, transfer

COLOUR_ONLY = Settings(texture=0)
TEXTURE_ONLY = Settings(colour=0)


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.fixture(scope="module")
def contents() -> list[np.ndarray]:
    """Three photographs as uint8 [128, 128, 3]."""
    pictures = []
    for file in ("astronaut.png", "chelsea.png", "coffee.png"):
        data = (importlib.resources.files("skimage") / "data" / file).read_bytes()
        square = Image.open(io.BytesIO(data)).convert("RGB").crop((100, 0, 400, 300))
        pictures.append(np.asarray(square.resize((128, 128), Image.Resampling.BOX)))
    return pictures


@pytest.fixture(scope="module")
def paintings(contents: list[np.ndarray]) -> dict[str, np.ndarray]:
    """One painting of the coffee in each style."""
    return {style.name: style.paint(contents[2], _rng(1), 1) for style in styles.STYLES}


def _ycocg(picture: np.ndarray) -> np.ndarray:
    matrix = np.array([[0.25, 0.5, 0.25], [0.5, 0.0, -0.5], [-0.25, 0.5, -0.25]])
    return picture.astype(np.float64) @ matrix.T


def _residual(picture: np.ndarray) -> np.ndarray:
    """Luma less its mean over 7 x 7 pixels."""
    grey = _ycocg(picture)[..., 0]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(grey, 3, mode="edge"), (7, 7))
    return grey - windows.mean(axis=(2, 3))


def _edges(picture: np.ndarray) -> np.ndarray:
    grey = _ycocg(picture)[..., 0]
    small = grey.reshape(grey.shape[0] // 4, 4, grey.shape[1] // 4, 4).mean(axis=(1, 3))
    return np.hypot(*np.gradient(small))


def test_colour_statistics_become_the_styles() -> None:
    # Mild pictures, so that nothing is clipped at 0 or 255.
    content = _rng(1).integers(90, 150, size=(64, 80, 3), dtype=np.uint8)
    y, x = np.mgrid[0:50, 0:60]
    style = np.stack((80 + x, 100 + y, 150 - x // 2), axis=-1).astype(np.uint8)
    result = _ycocg(transfer(content, style, 0, COLOUR_ONLY)).reshape(-1, 3)
    wanted = _ycocg(style).reshape(-1, 3)
    own = _ycocg(content).reshape(-1, 3)
    ratio = wanted.std(axis=0) / own.std(axis=0)
    assert (ratio > 1 / 3).all()
    assert (ratio < 3).all()
    np.testing.assert_allclose(result.mean(axis=0), wanted.mean(axis=0), atol=0.5)
    np.testing.assert_allclose(result.std(axis=0), wanted.std(axis=0), atol=0.5)
    assert np.abs(own.mean(axis=0) - wanted.mean(axis=0)).max() > 5


def test_colour_transfer_equals_the_float_formula(contents: list[np.ndarray]) -> None:
    content, style = contents[0], contents[1]
    own, other = _ycocg(content), _ycocg(style)
    gain = np.clip(other.std(axis=(0, 1)) / own.std(axis=(0, 1)), 1 / 3, 3)
    moved = (own - own.mean(axis=(0, 1))) * gain + other.mean(axis=(0, 1))
    light, orange, green = (moved[..., channel] for channel in range(3))
    expected = np.stack((light - green + orange, light + green, light - green - orange), axis=-1)
    result = transfer(content, style, 0, COLOUR_ONLY)
    assert np.abs(result - np.clip(expected, 0, 255)).max() <= 1.5


def test_the_gain_is_limited() -> None:
    content = np.full((32, 32, 3), 120, dtype=np.uint8)
    content[::2] += 2
    style = np.zeros((32, 32, 3), dtype=np.uint8)
    style[:, :16] = 255
    result = transfer(content, style, 0, COLOUR_ONLY)
    assert np.ptp(result.astype(int)) in range(5, 8)  # Two levels apart, times three.


def test_half_the_colour_strength_goes_half_the_way(contents: list[np.ndarray]) -> None:
    content, style = contents[0], contents[1] // 2
    means = [
        transfer(content, style, 0, Settings(texture=0, colour=percent)).mean()
        for percent in (0, 50, 100)
    ]
    assert means[0] == pytest.approx(content.mean(), abs=0.01)
    assert means[1] == pytest.approx((means[0] + means[2]) / 2, abs=4)


def test_a_picture_onto_itself_stays_nearly_the_same(contents: list[np.ndarray]) -> None:
    for content in contents:
        np.testing.assert_array_equal(transfer(content, content, 5, COLOUR_ONLY), content)
        error = transfer(content, content, 5).astype(float) - content
        assert np.sqrt((error**2).mean()) < 8  # A PSNR of 30 dB.


def test_texture_moves_towards_the_styles(
    contents: list[np.ndarray], paintings: dict[str, np.ndarray]
) -> None:
    """A calm content takes on the style's texture; a rough one is not made harsher.

    Of Ukiyo_e's residual, which is nearly all outlines of the subject, most must stay out.
    """
    small = Image.fromarray(contents[1]).resize((16, 16), Image.Resampling.BOX)
    calm = np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC))
    for name, style in paintings.items():
        wanted = np.abs(_residual(style)).mean()
        before = np.abs(_residual(transfer(calm, style, 1, COLOUR_ONLY))).mean()
        after = np.abs(_residual(transfer(calm, style, 1))).mean()
        assert before < 0.7 * wanted, name
        share = 0.15 if name == "Ukiyo_e" else 0.4
        assert after > before + share * (wanted - before), (name, before, after, wanted)
        assert after < 1.1 * wanted, (name, before, after, wanted)
        rough = contents[1]
        before = np.abs(_residual(transfer(rough, style, 1, COLOUR_ONLY))).mean()
        after = np.abs(_residual(transfer(rough, style, 1))).mean()
        assert after < 1.15 * max(before, wanted), (name, before, after, wanted)


def test_the_contents_structure_stays(
    contents: list[np.ndarray], paintings: dict[str, np.ndarray]
) -> None:
    for name, style in paintings.items():
        for content in contents[:2]:
            result = transfer(content, style, 2)
            grey = [_ycocg(picture)[..., 0].ravel() for picture in (content, result, style)]
            assert np.corrcoef(grey[0], grey[1])[0, 1] > 0.6, name
            edges = [_edges(picture).ravel() for picture in (content, result, style)]
            kept = np.corrcoef(edges[0], edges[1])[0, 1]
            ghost = np.corrcoef(edges[2], edges[1])[0, 1]
            alike = np.corrcoef(edges[2], edges[0])[0, 1]
            assert kept > 0.45, name
            assert kept > ghost + 0.2, name
            assert ghost < alike + 0.2, name


def test_lines_of_the_style_show_in_a_plain_content() -> None:
    """A striped style prints its stripes, at its own spacing, on a soft gradient."""
    y, x = np.mgrid[0:128, 0:128]
    stripes = np.where((x + y) % 8 < 4, 60, 200).astype(np.uint8)
    style = np.repeat(stripes[..., None], 3, axis=2)
    content = np.repeat((60 + x)[..., None], 3, axis=2).astype(np.uint8)
    result = _ycocg(transfer(content, style, 3, TEXTURE_ONLY))[..., 0]
    # Within a window the phase is the style's: compare a pixel with those 4 and 8 columns on.
    rest = result - np.apply_along_axis(lambda r: np.convolve(r, np.ones(8) / 8, "same"), 1, result)
    rest = rest[16:-16, 16:-16]
    assert rest.std() > 20
    assert (rest[:, 8:] * rest[:, :-8]).mean() > 0.5 * rest.var()
    assert (rest[:, 4:] * rest[:, :-4]).mean() < -0.5 * rest.var()


def test_seed_decides_the_bytes(
    contents: list[np.ndarray], paintings: dict[str, np.ndarray]
) -> None:
    content, style = contents[0], paintings["Impressionism"]
    before = content.copy(), style.copy()
    first = transfer(content, style, 1)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, transfer(content, style, 1))
    assert (first != transfer(content, style, 2)).any()
    np.testing.assert_array_equal(content, before[0])
    np.testing.assert_array_equal(style, before[1])


@pytest.mark.parametrize(
    ("size", "other"), [((8, 8), (90, 70)), ((90, 70), (8, 9)), ((41, 40), (64, 33))]
)
def test_any_sizes_will_do(size: tuple[int, int], other: tuple[int, int]) -> None:
    content = _rng(1).integers(0, 256, size=(*size, 3), dtype=np.uint8)
    style = _rng(2).integers(0, 256, size=(*other, 3), dtype=np.uint8)
    assert transfer(content, style, 0).shape == content.shape


def test_plain_pictures_will_do() -> None:
    content = np.full((50, 50, 3), 40, dtype=np.uint8)
    style = np.full((60, 60, 3), 200, dtype=np.uint8)
    np.testing.assert_array_equal(transfer(content, style, 0), np.full_like(content, 200))


def test_nonsense_is_refused() -> None:
    picture = np.zeros((20, 20, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="content must"):
        transfer(picture[..., 0], picture, 0)
    with pytest.raises(ValueError, match="style must"):
        transfer(picture, picture.astype(np.float32), 0)
    with pytest.raises(ValueError, match="seed"):
        transfer(picture, picture, -1)
    for field in dataclasses.fields(Settings):
        with pytest.raises(ValueError, match=field.name):
            Settings(**{field.name: -1})
    with pytest.raises(ValueError, match="colour"):
        Settings(colour=0.5)  # type: ignore[arg-type]


def test_the_protocol_has_a_name() -> None:
    assert statistics.PROTOCOL == "statistics-1"
