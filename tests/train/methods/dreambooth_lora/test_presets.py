"""Presets as the authors' documents have them, and the grid of what they varied."""

import pytest

from eval.bridge import check_later_flags, resolved_flags
from toolkit.core.matrix import read_matrix
from train.methods import preset_path, stylize_defaults
from train.settings import fresh_config

# source B2, sections 3.1 and 4.1: UNet rank, text rank, steps, prior weight, augmentation
PUBLISHED = {"safe": (32, 0, 800, 1.0, False), "aggressive": (64, 8, 1200, 0.9, True)}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_are_the_published_ones(preset: str) -> None:
    found = fresh_config("dreambooth_lora", preset, {})
    own = found.method_config
    is_augmented = found.data.flip > 0 and own.rotate > 0
    assert (
        own.lora.unet_rank, own.lora.text_rank, found.steps, own.prior_weight, is_augmented
    ) == PUBLISHED[preset]  # fmt: skip
    assert (found.optim.lr, found.optim.schedule, found.data.batch_size) == (1e-4, "constant", 1)
    assert (found.optim.warmup_steps, own.lora.text_lr_scale) == (0, 0.1)
    assert found.data.least_scale == found.data.most_scale == pytest.approx(512 / 532, abs=1e-4)
    how = stylize_defaults("dreambooth_lora", own)
    assert (how.strength, how.guidance, how.steps, how.init) == (0.9, 7.5, 40, "average")


def test_the_baseline_knows_no_more_than_the_name_of_the_style() -> None:
    found = fresh_config("dreambooth_lora", "baseline", {})
    assert found.method_config.lora.unet_rank == 4
    assert found.method_config.template == "style_{style}"
    assert (found.data.mix, found.data.crop) == ("main:1", "center")
    assert stylize_defaults("dreambooth_lora", found.method_config).init == "noise"


def test_the_grid_holds_what_was_varied_and_its_rows_the_presets() -> None:
    path = preset_path("dreambooth_lora", "safe").parents[1] / "ablation.toml"
    matrix = read_matrix(path, None, resolved_flags, check_later_flags)
    rows = {row.name: row for row in matrix.rows}
    assert matrix.seeds == (42, 43, 44)
    for name, values in {
        "unet_rank": (4, 16, 64), "text_rank": (2, 4, 8), "prior_weight": (0.9, 0.5, 0.0),
    }.items():  # fmt: skip
        assert {f"{name}={value:g}" if value else f"{name}=0.0" for value in values} <= set(rows)
    assert "init=noise" in rows
    for preset, name in (("aggressive", "aggressive"), ("baseline", "handed out")):
        flags = {k: v for k, v in rows[name].flags.items() if k != "data.where"}
        found = fresh_config("dreambooth_lora", "safe", flags)
        assert found == fresh_config("dreambooth_lora", preset, {})
