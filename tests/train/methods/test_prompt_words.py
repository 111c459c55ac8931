"""The prompts' encoders: remembered, and known by their weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.train.methods.dreambooth_lora.test_dreambooth_lora import config_of
from tests.twins import stable_diffusion
from train.methods.dreambooth_lora.config import LoraConfig
from train.methods.dreambooth_lora.few_shot import FewShot


def test_models_that_the_loss_asks_are_known_by_their_weights(tmp_path: Path) -> None:
    """A run that resumes beside another autoencoder or text encoder is another run."""
    folder = stable_diffusion(tmp_path / "one")
    before = FewShot(config_of(folder), 0).asked()
    assert before == FewShot(config_of(folder, init="noise"), 1).asked()
    for part, name in (("vae", "autoencoder"), ("text_encoder", "words")):
        path = next((folder / part).glob("*.safetensors"))
        state = load_file(path)
        first = sorted(name for name in state if name.endswith("weight"))[0]
        save_file({**state, first: state[first] + 1}, path, metadata={"format": "pt"})
        after = FewShot(config_of(folder), 0).asked()
        assert {key for key in before if before[key] != after[key]} == {name}
        before = after
    trained = FewShot(config_of(folder, lora=LoraConfig(2, text_rank=2)), 0)
    assert set(trained.asked()) == {"autoencoder"}  # its module has the text encoder


def test_prompts_are_remembered_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.methods.prompt_words._REMEMBERED", 2)
    words = FewShot(config_of(stable_diffusion(tmp_path / "one")), 0).network.words
    device = torch.device("cpu")
    first = words(["cat", "dog", "red house"], device)
    assert list(words._known) == ["dog", "red house"]
    again = words(["dog", "cat"], device)
    assert torch.equal(again.tokens, first.tokens[[1, 0]])
    assert list(words._known) == ["dog", "cat"]
