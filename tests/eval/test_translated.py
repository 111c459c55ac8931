"""Scores of translations, of a translator whose answers are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from eval.translated import Translations
from eval.translation_page import translation_page
from eval.translation_scores import Row
from toolkit.core.errors import UserError
from toolkit.core.keyed import key63

pytestmark = pytest.mark.slow

SIZE = 32


@dataclass(frozen=True)
class How:
    guidance: float = 1.0
    solver: str = "euler"
    steps: int = 4
    depth: float = 0.75


def drawn(style: str, count: int, purpose: str) -> torch.Tensor:
    """Pictures of a domain: smooth ones, stripes across, stripes down."""
    generator = torch.Generator().manual_seed(key63(style, purpose))
    coarse = torch.rand(count, 3, 4, 4, generator=generator) - 0.5
    smooth = F.interpolate(coarse, size=SIZE, mode="bicubic", align_corners=False)
    return smooth + stripes(style)


def stripes(style: str) -> torch.Tensor:
    wave = 0.2 * torch.sin(torch.arange(SIZE) * 2.0)
    plain = torch.zeros(SIZE, SIZE)
    return {"smooth": plain, "across": plain + wave[:, None], "down": plain + wave[None, :]}[style]


class Known:
    """Adds the stripes of the target, as often as guidance says. Latents are pixels."""

    styles = ("smooth", "across", "down")

    def __init__(self, unheld: str = ""):
        self._unheld = unheld
        self.identity = {"run": "known", "step": 7, "weights": "0"}

    def held_out(self, style: str, count: int, purpose: str) -> tuple[torch.Tensor, list[str]]:
        keys = [f"{style}{n % (count // 2)}-{n}" for n in range(count)]
        return drawn(style, count, f"held out {purpose}"), keys

    def trained_on(self, style: str, count: int, purpose: str) -> torch.Tensor:
        return self.encoded(drawn(style, count, f"train {purpose}"))

    def is_validated(self, style: str) -> bool:
        return style != self._unheld

    def encoded(self, pixels: torch.Tensor) -> torch.Tensor:
        return F.pixel_unshuffle(pixels, 4)

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(latents, 4)

    def inverted(self, latents: torch.Tensor, source: str, how: How) -> Iterator[torch.Tensor]:
        assert (source, how.guidance) == ("smooth", 1.0)
        yield from (-latents).split(5)

    def generated(self, noise: torch.Tensor, target: str, how: How) -> Iterator[torch.Tensor]:
        added = self.encoded(stripes(target).expand(1, 3, SIZE, SIZE))
        yield from (how.guidance * added - noise).split(7)

    def evaluations(self, how: How) -> int:
        return how.steps

    def solver_settings(self, how: How, budgets: tuple[int, ...]) -> list[Any]:
        return [("euler", budget, SimpleNamespace(error=1 / budget)) for budget in budgets]

    def round_trip(self, latents: torch.Tensor, source: str, how: Any) -> float:
        return float(how.error)


def measured(targets: tuple[str, ...] = (), numbered: bool = False, **given: Any) -> Translations:
    return Translations(Known(**given), How(), "", targets, 24, 200, numbered)


def row(rows: list[Row], what: str, target: str) -> Row:
    (found,) = [r for r in rows if (r.what, r.target) == (what, target)]
    return found


def test_translations_are_called_their_target_and_unchanged_pictures_are_not() -> None:
    rows = measured().rows((0.0, 1.0))
    assert [r.target for r in rows[:3]] == ["across", "down", "all"]
    for target in ("across", "down"):
        for same in ("unchanged", "guidance 0"):
            assert row(rows, same, target).called.mean < 0.1
            assert row(rows, same, target).edges_1px.mean > 0.99
            assert row(rows, same, target).taken_for["smooth"] > 0.9
        translated = row(rows, "guidance 1", target)
        assert translated.called.mean > 0.9
        assert translated.taken_for[target] > 0.9
        assert translated.edges_1px.mean < 0.9
    whole = row(rows, "guidance 1", "all")
    parts = [row(rows, "guidance 1", target) for target in ("across", "down")]
    assert whole.called.mean == pytest.approx(sum(part.called.mean for part in parts) / 2)
    assert whole.edges_4px.low <= whole.edges_4px.mean <= whole.edges_4px.high


def test_simpler_ways_take_colours_of_the_target_but_not_its_stripes() -> None:
    rows = measured(("across",)).rows((1.0,))
    assert row(rows, "colour transfer", "across").edges_1px.mean > 0.8
    assert (
        row(rows, "guidance 1", "across").called.mean
        > row(rows, "colour transfer", "across").called.mean
    )
    assert {r.what for r in rows} == {"unchanged", "colour transfer", "AdaIN", "guidance 1"}


def test_intervals_are_of_photographs_not_of_cuts() -> None:
    by_cut = row(measured(("across",)).rows(()), "colour transfer", "across").edges_1px
    by_photograph = measured(("across",), numbered=True)
    assert by_photograph.facts()["photographs"] == 12
    other = row(by_photograph.rows(()), "colour transfer", "across").edges_1px
    assert other.mean == by_cut.mean
    assert (other.low, other.high) != (by_cut.low, by_cut.high)


def test_the_probe_is_tried_on_what_is_held_out_only() -> None:
    right = measured(unheld="down").facts()["probe_right"]
    assert set(right) == {"smooth", "across"}
    assert all(found["called"]["mean"] > 0.9 for found in right.values())
    assert all(found["called_latents"]["mean"] > 0.8 for found in right.values())


def test_a_sheet_has_a_column_for_each_way_or_each_target() -> None:
    one = measured(("across",))
    one.rows((1.0, 2.0))
    names, sheet = one.sheet()
    assert names == [
        "original", "unchanged", "colour transfer", "AdaIN", "guidance 1", "guidance 2",
    ]  # fmt: skip
    assert sheet.shape == (10 * SIZE, 6 * SIZE, 3)
    several = measured(numbered=True)
    several.rows((1.0, 2.0))
    names, sheet = several.sheet()
    assert names == ["original", "across, guidance 2", "down, guidance 2"]
    shown = torch.from_numpy(sheet[:SIZE, SIZE : 2 * SIZE]).permute(2, 0, 1) / 127.5 - 1
    first = torch.from_numpy(sheet[:SIZE, :SIZE]).permute(2, 0, 1) / 127.5 - 1
    assert torch.allclose(shown - first, 2 * stripes("across").expand(3, SIZE, SIZE), atol=0.02)


def test_the_page_shows_every_number() -> None:
    of_all = measured()
    rows = [r.__dict__ | {k: v.__dict__ for k, v in r.__dict__.items() if k in SHARES}
            for r in of_all.rows((1.0,))]  # fmt: skip
    result = {**of_all.facts(), "rows": rows, "round_trip": of_all.round_trips((4, 8))}
    page = translation_page(result, *of_all.sheet())
    for text in (
        "guidance 1",
        "colour transfer",
        "4: 2.5e-01, 8: 1.2e-01",
        "24 cuts of 24",
        "euler, 4 steps each way; depth 0.75",
        "across",
    ):
        assert text in page
    assert page.count("<img") == 10 * 3
    assert "Few pictures" not in page
    assert "3 are too few" in translation_page({**result, "photographs": 3}, *of_all.sheet())


def test_the_forecast_counts_every_translation_and_round_trip() -> None:
    """Twice the guided weights, or the targets, take about twice as long."""
    one, two = measured(("across",)), measured(("across", "down"))
    for of in (one, two):
        of._seconds["decoding and encoding"] = 0.0
        assert len(of._noise) == 24
        of._seconds["inversion"] = 1.0
    assert one.forecast_s((1.0,), ()) == 24
    assert one.forecast_s((1.0, 2.0, 3.0), ()) == 24 * 5
    assert two.forecast_s((1.0, 2.0), ()) == 2 * 24 * 3
    assert one.forecast_s((), (4, 8)) == pytest.approx(2 * 8 * (4 + 8) / 4)
    one._seconds["decoding and encoding"] = 0.5
    assert one.forecast_s((1.0,), ()) == 24 + 24 * (1 + 3) * 0.5


SHARES = ("called", "called_latents", "edges_1px", "edges_4px")


def test_styles_that_the_run_does_not_know_are_refused() -> None:
    with pytest.raises(UserError, match="knows no style 'Dada': it has smooth, across, down"):
        measured(("Dada",))
    with pytest.raises(UserError, match="--targets names smooth, which is the source"):
        measured(("smooth",))
