"""Configurations of the system that the method comes from."""

import re
from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from train.methods.ot_cfm.foreign import from_json
from train.settings import fresh_config

THEIRS = """{
  "model": {
    "latent_channels": 4,      // of the autoencoder
    "hidden_dim": 512, "num_layers": 18,
    "num_styles": 2,
    "kernel_size": 5           // depthwise
  },
  "training": {
    "batch_size": 32, "learning_rate": 2e-4, "stage1_epochs": 50, "use_amp": false,
    "label_drop_prob": 0.2, "num_workers": 3,
  },
  "data": {"raw_data_root": "http://x//y", "data_root": "/a", "num_classes": 2},
  "checkpoint": {"save_dir": "checkpoints"}
}"""


def test_fields_are_ours_and_the_rest_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(THEIRS)
    settings = fresh_config("ot_cfm", str(path), {"seed": "7"})
    net = settings.method_config.net
    assert (net.hidden_dim, net.num_layers, net.kernel_size) == (512, 18, 5)
    assert (settings.data.batch_size, settings.data.workers) == (32, 3)
    assert (settings.optim.lr, settings.epochs, settings.seed) == (2e-4, 50, 7)
    assert (settings.method_config.label_drop, settings.precision) == (0.2, "fp32")
    told = capsys.readouterr().out.splitlines()
    assert f"{path}: model.latent_channels=4: the data decide it" in told
    assert (
        f"{path}: data.raw_data_root=http://x//y: --shards, --manifests and --runs say" in told[2]
    )
    assert len(told) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "it is no JSON with groups"),
        ("{", "it is no JSON with groups"),
        ('{"model": {"depth": 3}}', "unknown field model.depth: known are model.hidden_dim"),
        ('{"model": 3}', "it is no JSON with groups"),
    ],
)
def test_other_files_are_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        from_json(text)
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(str(path))):
        fresh_config("ot_cfm", str(path), {})
    with pytest.raises(UserError, match="style_adapter takes a preset or a TOML file"):
        fresh_config("style_adapter", str(path), {})


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("8gb", (64, 384, 12)), ("12gb", (128, 512, 16)), ("16gb", (256, 512, 18))],
)
def test_presets_for_cards_are_those_of_the_source(
    preset: str, sizes: tuple[int, int, int]
) -> None:
    settings = fresh_config("ot_cfm", preset, {})
    net = settings.method_config.net
    assert (settings.data.batch_size, net.hidden_dim, net.num_layers) == sizes
    assert (settings.optim.lr, settings.epochs, settings.checkpoint.save_epochs) == (1e-4, 200, 10)
    assert settings.optim.gradient_checkpointing
