"""Weights of SDXL and of pixel SDXL from single files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from tests.twins import sdxl
from toolkit.core.errors import UserError
from train.lora.sdxl_names import authors_name
from train.methods.needs import DataFacts
from train.methods.pixel_sdxl.checkpoints import TEXT, UNET
from train.methods.pixel_sdxl.config import Config, needs, settle
from train.methods.pixel_sdxl.exporting import FILE
from train.methods.pixel_sdxl.method import Method

CPU = torch.device("cpu")


def config_of(folder: Path, **more: Any) -> Config:
    usual = {"patch": 4, "hidden": 16, "blocks": 1, "image_size": 32}
    config = replace(Config(backbone=str(folder)), **{**usual, **more})
    return settle(config, DataFacts({"main": (None,)}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdxl(tmp_path_factory.mktemp("xl") / "sdxl")


@pytest.fixture(scope="module")
def single(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as SDXL's authors have it, of other weights than the pipeline's."""
    torch.manual_seed(21)
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
    state = {UNET + authors_name(name): value for name, value in unet.state_dict().items()}
    first = CLIPTextModel.from_pretrained(folder / "text_encoder")
    for name, value in first.state_dict().items():
        plain = name.removeprefix("text_model.")
        state[f"{TEXT['text_encoder']}text_model.{plain}"] = value + 0.1
    second = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2")
    own = {n.removeprefix("text_model."): value + 0.1 for n, value in second.state_dict().items()}
    state |= {TEXT["text_encoder_2"] + name: value for name, value in open_clip(own).items()}
    state["first_stage_model.encoder.conv_in.weight"] = torch.zeros(1)
    path = tmp_path_factory.mktemp("single") / "xl.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def open_clip(own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A text encoder as open_clip's programs name it: queries, keys and values in one, the last
    projection the other way round."""
    found = {
        "positional_embedding": own["embeddings.position_embedding.weight"],
        "token_embedding.weight": own["embeddings.token_embedding.weight"],
        "text_projection": own["text_projection.weight"].T,
        "ln_final.weight": own["final_layer_norm.weight"],
        "ln_final.bias": own["final_layer_norm.bias"],
    }
    layers = {name.split(".")[2] for name in own if name.startswith("encoder.layers.")}
    for layer in layers:
        here, there = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            parts = [own[f"{here}self_attn.{name}_proj.{end}"] for name in "qkv"]
            found[f"{there}attn.in_proj_{end}"] = torch.cat(parts)
            found[f"{there}attn.out_proj.{end}"] = own[f"{here}self_attn.out_proj.{end}"]
            for ours, theirs in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                                 ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):  # fmt: skip
                found[f"{there}{theirs}.{end}"] = own[f"{here}{ours}.{end}"]
    return found


def same(one: Method, other: Method, part: str) -> bool:
    pairs = zip(one.network.unet.named_parameters(), other.network.unet.parameters(), strict=True)
    return all(torch.equal(a, b) for (name, a), b in pairs if name.startswith(part))


def test_a_pipelines_weights_are_told(folder: Path) -> None:
    method = Method(config_of(folder), 0)
    lines = "\n".join(method.loaded())
    whole = UNet2DConditionModel.from_pretrained(folder / "unet")
    kept = sum(name.startswith("body.") for name in method.network.unet.state_dict())
    assert f"{kept} weights loaded" in lines
    dropped = len(whole.state_dict()) - kept
    gone = next(line for line in method.loaded() if "dropped" in line).partition("dropped: ")[2]
    inputs = [f"input_blocks.{number}" for number in range(4)]
    outputs = [f"output_blocks.{number}" for number in (5, 6, 7, 8)]
    assert gone.split(", ") == [*inputs, "out.0", "out.2", *outputs]
    assert f"{dropped} of SDXL's dropped: " in lines
    assert "new: patch_decoder, patch_encoder" in lines
    body = dict(method.network.unet.body.named_parameters())
    own = dict(whole.named_parameters())
    assert all(torch.equal(value, own[name]) for name, value in body.items())


def test_a_single_file_takes_the_pipelines_place(folder: Path, single: Path) -> None:
    method = Method(config_of(folder, weights=str(single)), 0)
    plain = Method(config_of(folder), 0)
    assert not same(method, plain, "body")
    assert same(method, plain, "patch")
    given = load_file(single)
    body = dict(method.network.unet.body.named_parameters())
    assert all(torch.equal(given[UNET + authors_name(n)], value) for n, value in body.items())
    assert any("2 text encoders" in line for line in method.loaded())
    words = method.network.words._load()
    for part, model in zip(("text_encoder", "text_encoder_2"), words, strict=True):
        kind = CLIPTextModel if part == "text_encoder" else CLIPTextModelWithProjection
        before = dict(kind.from_pretrained(folder / part).named_parameters())
        for name, value in model.named_parameters():
            torch.testing.assert_close(value, before[name] + 0.1)


@pytest.mark.parametrize("kind", ["pt", "pth", "safetensors"])
def test_what_was_trained_goes_out_and_comes_back(folder: Path, tmp_path: Path, kind: str) -> None:
    """As the source's scripts keep it as well: a dictionary `model` beside the optimiser's."""
    method = Method(config_of(folder), 5)
    written = method.export(tmp_path / "out", {"run": "a", "step": 3})
    assert written == [FILE, "README.md"]
    path = tmp_path / "out" / FILE
    if kind != "safetensors":
        state = load_file(path)
        path = tmp_path / f"full.{kind}"
        torch.save({"model": state, "optimizer_state": {"state": {}, "param_groups": []}}, path)
    other = Method(config_of(folder), 6)
    assert not same(method, other, "patch")
    other.imported(path)
    assert same(method, other, "")


def test_files_that_do_not_fit_are_one_line(folder: Path, single: Path, tmp_path: Path) -> None:
    method = Method(config_of(folder), 0)
    wrong = tmp_path / "wrong.safetensors"
    save_file({"a": torch.zeros(1)}, wrong)
    with pytest.raises(UserError, match=r"holds no U-Net of SDXL"):
        method.imported(wrong)
    given = load_file(single)
    some = {n: v for n, v in given.items() if "middle_block" not in n}
    save_file(some, wrong)
    with pytest.raises(UserError, match=r"lacks \d+ weights of SDXL's body"):
        method.imported(wrong)
    method.export(tmp_path / "out", {})
    with pytest.raises(UserError, match=r"is of another size: patch_.*see --base_resolution"):
        Method(config_of(folder, hidden=8), 0).imported(tmp_path / "out" / FILE)
    with pytest.raises(UserError, match=r"there is no such file"):
        needs(config_of(folder, weights=str(tmp_path / "none.safetensors")))
    torch.save({"model": {"x": print}}, tmp_path / "bad.pt")  # not a tensor: never unpickled
    with pytest.raises(UserError, match=r"holds no weights"):
        method.imported(tmp_path / "bad.pt")
