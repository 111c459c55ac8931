"""Cuts, flips and dropped captions: pure functions of the seed, alike for pictures of one scene."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from toolkit.core.errors import UserError
from toolkit.stream.augment import Augment, Cut, uniform
from toolkit.stream.decode import Framing, decode_cut

SEEDS = range(4000)


def test_draws_are_uniform_and_those_of_different_purposes_independent() -> None:
    one = np.array([uniform(seed, "one") for seed in SEEDS])
    other = np.array([uniform(seed, "other") for seed in SEEDS])
    assert stats.kstest(one, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.06
    assert uniform(5, "one") == one[5]


def test_a_draw_is_the_recorded_one() -> None:
    """Exact on every machine: 53 bits, no floating-point functions."""
    assert uniform(2**63 + 1, "flip scene") == 0.7243578653648458


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flips_and_dropped_captions_are_as_frequent_as_asked(probability: float) -> None:
    augment = Augment(flip=probability, caption_dropout=probability)
    for happened in (
        [augment.cut(seed, "target").flipped for seed in SEEDS],
        [augment.drops_caption(seed) for seed in SEEDS],
    ):
        if probability in (0, 1):
            assert set(happened) == {bool(probability)}
        else:
            assert stats.binomtest(sum(happened), len(SEEDS), probability).pvalue > 1e-3


def test_content_and_target_are_cut_alike_and_the_style_by_itself() -> None:
    augment = Augment("random", least_scale=0.5, flip=0.5)
    cuts = [[augment.cut(seed, role) for role in ("target", "content", "style")] for seed in SEEDS]
    assert all(target == content for target, content, _ in cuts)
    assert sum(target.flipped == style.flipped for target, _, style in cuts) < 0.6 * len(SEEDS)
    correlation = np.corrcoef([[t.left, s.left] for t, _, s in cuts], rowvar=False)[0, 1]
    assert abs(correlation) < 0.06


def test_cuts_stay_inside_and_reach_every_edge() -> None:
    augment = Augment("random", least_scale=0.25)
    boxes = np.array([augment.cut(seed, "target").box(60, 100) for seed in SEEDS])
    left, top, side, height = boxes.T
    assert (side == height).all()
    assert left.min() == 0
    assert top.min() == 0
    assert (left + side).max() == 100
    assert (top + side).max() == 60
    assert (side.min(), side.max()) == (15, 60)


def test_nothing_asked_is_the_central_square() -> None:
    assert {Augment().cut(seed, "style") for seed in range(50)} == {Cut()}
    assert not any(Augment().drops_caption(seed) for seed in range(50))
    assert Cut().box(50, 80) == (15, 0, 50, 50)


@pytest.mark.parametrize("wrong", [{"flip": 1.5}, {"caption_dropout": -1}, {"least_scale": 0.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^{next(iter(wrong))}="):
        Augment(**wrong)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_cut_is_that_part_of_the_picture(form: str, encode: Callable[..., bytes]) -> None:
    """Against Pillow: cut, resize, mirror."""
    ramp = np.zeros((240, 320, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 320)[None, :]
    ramp[..., 1] = np.linspace(0, 255, 240)[:, None]
    data = encode(ramp, form)
    cut = Cut(left=0.9, top=0.2, scale=0.5, flipped=True)
    out = np.zeros((40, 40, 3), np.uint8)
    framing = decode_cut(data, out, cut)
    assert framing == Framing(240, 320, top=24, left=180, flipped=True)
    expected = Image.fromarray(ramp[24:144, 180:300]).resize((40, 40), Image.Resampling.LANCZOS)
    difference = np.asarray(expected)[:, ::-1].astype(int) - out
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize(("side", "size"), [(512, 256), (512, 64), (512, 192), (100, 50), (99, 50)])
def test_a_scaled_decode_lands_in_the_buffer(
    side: int, size: int, encode: Callable[..., bytes], make_picture: Callable[..., np.ndarray]
) -> None:
    import simplejpeg

    data = encode(make_picture(1, side, side))
    out = np.full((size, size, 3), 7, np.uint8)
    assert decode_cut(data, out) == Framing(side, side, 0, 0)
    whole = simplejpeg.decode_jpeg(data, "RGB", min_height=size, min_width=size)
    assert whole.shape == out.shape
    np.testing.assert_array_equal(out, whole)
