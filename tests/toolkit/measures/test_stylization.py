"""Pictures that stayed photographs are told from those that took a style on."""

import numpy as np
import pytest

from toolkit.measures.stylization import StyleLook, look_of
from toolkit.painting.photographs import load


@pytest.fixture(scope="module")
def style() -> list[np.ndarray]:
    """Pictures of one look: strong patches in few colours, of different things."""
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        small = rng.integers(0, 2, (24, 24)) * 140 + rng.integers(20, 60)
        patches = np.kron(small, np.ones((6, 6)))[..., None] * np.array([1.0, 0.8, 0.3])
        found.append(np.clip(patches, 0, 255).astype(np.uint8))
    return found


def test_references_lie_within_and_a_photograph_outside(style: list[np.ndarray]) -> None:
    look = StyleLook.of(np.stack([look_of(pixels) for pixels in style]))
    assert all(look.distance(look_of(pixels)) <= look.farthest for pixels in style)
    assert look.distance(look_of(load("coffee"))) > 2 * look.farthest


def test_the_more_of_the_style_the_farther_it_moved(style: list[np.ndarray]) -> None:
    look = StyleLook.of(np.stack([look_of(pixels) for pixels in style]))
    photograph = load("chelsea")[:144, :144]
    before = look_of(photograph)
    moved = []
    for share in (0.0, 0.3, 0.6, 1.0):
        blend = (1 - share) * photograph + share * style[0]
        moved.append(look.moved(look_of(blend.astype(np.uint8)), before))
    assert moved[0] == pytest.approx(0)
    assert moved == sorted(moved)
    assert moved[-1] > 0.5
    away = np.full_like(photograph, 255)
    assert look.moved(look_of(away), before) < 0


def test_size_does_not_decide(style: list[np.ndarray]) -> None:
    """The look is that of the picture at 128 pixels."""
    photograph = load("coffee")[:256, :256]
    halved = photograph.reshape(128, 2, 128, 2, 3).mean((1, 3)).round().astype(np.uint8)
    np.testing.assert_allclose(look_of(photograph), look_of(halved), atol=0.02)


def test_one_reference_is_enough_for_distances() -> None:
    look = StyleLook.of(look_of(load("coffee"))[None])
    assert look.distance(look_of(load("coffee"))) == 0
    assert look.farthest == 1.0
