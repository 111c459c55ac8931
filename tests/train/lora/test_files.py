"""LoRAs through every format, read back, and read by diffusers' own pipelines."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.twins import sdxl, stable_diffusion
from toolkit.core.errors import UserError
from train.lora.change import add_to
from train.lora.reading import FILE, read_lora
from train.lora.weights import Lora, LoraLayer, without_prefix
from train.lora.writing import write_lora

UNET = ("to_q", "to_k", "to_v", "to_out.0")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")


@pytest.fixture(scope="module", params=["sd", "sd before 5.6", "sdxl"])
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "base"
    if request.param == "sdxl":
        return sdxl(folder)
    return stable_diffusion(folder, flat=request.param == "sd")


def opened(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    found = DiffusionPipeline.from_pretrained(folder)
    found.set_progress_bar_config(disable=True)
    return found


def random_lora(pipe: Any, is_even: bool = False) -> Lora:
    """Of all attention, ranks 2 and 3, α unlike the rank, and another one in some places; is_even:
    one α in each model."""
    generator = torch.Generator().manual_seed(0)
    layers: dict[str, dict[str, LoraLayer]] = {}
    for part, component in enumerate(("unet", "text_encoder", "text_encoder_2")):
        model = getattr(pipe, component, None)
        targets = UNET if component == "unet" else TEXT
        for number, (name, module) in enumerate(model.named_modules() if model else ()):
            if not name.endswith(targets) or not hasattr(module, "weight"):
                continue
            rank, (out, width) = 2 + number % 2, module.weight.shape
            down = torch.randn(rank, width, generator=generator)
            up = torch.randn(out, rank, generator=generator)
            alpha = [0.5, 4.0, 4.0][part if is_even else number % 3]
            layer = LoraLayer(down * 0.4, up * 0.4, alpha)
            layers.setdefault(component, {})[without_prefix(name)] = layer
    return Lora({part: dict(sorted(found.items())) for part, found in layers.items()})


def same(found: Lora, expected: Lora) -> bool:
    a, b = ({(c, p): layer for c, p, layer in lora} for lora in (found, expected))
    return a.keys() == b.keys() and all(
        torch.equal(a[k].down, b[k].down) and torch.equal(a[k].up, b[k].up)
        and a[k].alpha == b[k].alpha for k in a
    )  # fmt: skip


def pictures(pipe: Any) -> torch.Tensor:
    latents = torch.randn(
        1, 4, pipe.unet.config.sample_size, pipe.unet.config.sample_size,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    return torch.from_numpy(
        pipe("a red cat", num_inference_steps=3, guidance_scale=4.0, latents=latents,
             output_type="np").images
    )  # fmt: skip


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_what_is_written_is_read_back(pipeline: Path, tmp_path: Path, form: str) -> None:
    lora = random_lora(opened(pipeline))
    path = tmp_path / "a.safetensors"
    write_lora(lora, path, form)
    assert same(read_lora(path), lora)
    other = "kohya" if form == "diffusers" else "diffusers"
    write_lora(read_lora(path), tmp_path / "b.safetensors", other)
    assert same(read_lora(tmp_path / "b.safetensors"), lora)


@pytest.mark.parametrize("form", ["diffusers", "kohya"])
def test_diffusers_makes_the_pictures_of_the_sum_of_weights(
    pipeline: Path, tmp_path: Path, form: str
) -> None:
    """α is neither the rank nor the same everywhere; the reference adds α/r·B·A to the weights. Of
    kohya's files diffusers reads one α a model, and mistakes several."""
    summed, adapted = opened(pipeline), opened(pipeline)
    lora, plain = random_lora(summed, is_even=form == "kohya"), pictures(summed)
    add_to({n: p for n, p in summed.components.items() if hasattr(p, "named_modules")}, lora)
    write_lora(lora, tmp_path / FILE, form)
    adapted.load_lora_weights(tmp_path)
    expected, found = pictures(summed), pictures(adapted)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    assert (expected - plain).abs().max() > 0.01


def test_kohyas_files_hold_each_modules_alpha(pipeline: Path, tmp_path: Path) -> None:
    """By the formula of its programs, α/r·B·A, from the tensors of the file alone."""
    lora = random_lora(opened(pipeline))
    write_lora(lora, tmp_path / "k.safetensors", "kohya")
    state = load_file(tmp_path / "k.safetensors")
    found = []
    for name in sorted(n.removesuffix(".alpha") for n in state if n.endswith(".alpha")):
        down, up = state[f"{name}.lora_down.weight"], state[f"{name}.lora_up.weight"]
        found.append((up @ down * (state[f"{name}.alpha"] / len(down))).norm())
    expected = [layer.delta().norm() for *_, layer in lora]
    torch.testing.assert_close(torch.stack(found).sort()[0], torch.stack(expected).sort()[0])
    assert len({float(state[n]) for n in state if n.endswith(".alpha")}) == 2


def test_names_of_every_age_are_read(tmp_path: Path) -> None:
    down, up = torch.randn(2, 8), torch.randn(8, 2)
    attn = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    self_attn = "encoder.layers.0.self_attn"
    ages = {
        "peft": (f"unet.{attn}.to_out.0.lora_A.weight", f"unet.{attn}.to_out.0.lora_B.weight"),
        "diffusers": (f"unet.{attn}.to_out.0.lora.down.weight",
                      f"unet.{attn}.to_out.0.lora.up.weight"),
        "of processors": (f"{attn}.processor.to_out_lora.down.weight",
                          f"{attn}.processor.to_out_lora.up.weight"),
    }  # fmt: skip
    for age, names in ages.items():
        text = (f"text_encoder.text_model.{self_attn}.to_q_lora.down.weight",
                f"text_encoder.text_model.{self_attn}.to_q_lora.up.weight")  # fmt: skip
        state = dict(zip(names, (down, up), strict=True))
        if age == "diffusers":
            state |= dict(zip(text, (down, up), strict=True))
        save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "a.st")
        found = read_lora(tmp_path / "a.st")
        layer = found.layers["unet"][f"{attn}.to_out.0"]
        assert (layer.alpha, layer.rank) == (2.0, 2), age
        assert torch.equal(layer.down, down)
        if age == "diffusers":
            assert list(found.layers["text_encoder"]) == [f"{self_attn}.q_proj"]


def test_text_encoders_are_written_for_old_programs_and_new(tmp_path: Path) -> None:
    layer = LoraLayer(torch.randn(2, 8), torch.randn(8, 2), 1.0)
    lora = Lora({"text_encoder": {"encoder.layers.0.self_attn.q_proj": layer}})
    write_lora(lora, tmp_path / "d.safetensors", "diffusers")
    assert all(
        name.startswith("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.")
        for name in load_file(tmp_path / "d.safetensors")
    )
    write_lora(lora, tmp_path / "k.safetensors", "kohya")
    names = load_file(tmp_path / "k.safetensors")
    assert set(names) == {
        f"lora_te_text_model_encoder_layers_0_self_attn_q_proj.{part}"
        for part in ("lora_down.weight", "lora_up.weight", "alpha")
    }


def test_kohya_metadata_say_what_a_program_asks(tmp_path: Path) -> None:
    layers = {f"down_blocks.{n}.attentions.0.transformer_blocks.0.attn2.to_k":
              LoraLayer(torch.randn(4, 1024), torch.randn(8, 4), 2.0) for n in (0, 1)}  # fmt: skip
    path = tmp_path / "k.safetensors"
    write_lora(Lora({"unet": layers}), path, "kohya", {"modelspec.trigger_phrase": "style_03"})
    with safe_open(path, "pt") as file:
        about = file.metadata()
    assert about["ss_network_dim"] == "4"
    assert about["ss_network_alpha"] == "2"
    assert about["ss_base_model_version"] == "sd_v2"
    assert about["modelspec.architecture"] == "stable-diffusion-v2/lora"
    assert about["modelspec.trigger_phrase"] == "style_03"
    assert read_lora(path).about["modelspec.trigger_phrase"] == "style_03"


def test_sdxl_has_the_names_of_its_authors(tmp_path: Path) -> None:
    """kohya's own names of three modules, from its list of SDXL's."""
    names = {
        "down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q":
            "lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q",
        "mid_block.attentions.0.transformer_blocks.9.attn2.to_out.0":
            "lora_unet_middle_block_1_transformer_blocks_9_attn2_to_out_0",
        "up_blocks.1.attentions.2.transformer_blocks.1.attn2.to_k":
            "lora_unet_output_blocks_5_1_transformer_blocks_1_attn2_to_k",
    }  # fmt: skip
    layers = {path: LoraLayer(torch.randn(1, 2048), torch.randn(8, 1), 1.0) for path in names}
    write_lora(Lora({"unet": layers}), tmp_path / "x.safetensors", "kohya")
    found = {name.partition(".")[0] for name in load_file(tmp_path / "x.safetensors")}
    assert found == set(names.values())


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"lora_unet_x.lokr_w1": 2}, "is LoKr, no plain LoRA"),
        ({"lora_unet_x.hada_w1_a": 2}, "is LoHa, no plain LoRA"),
        ({"unet.a.to_q.lora_A.weight": 2, "unet.a.to_q.lora_magnitude_vector": 1}, "is DoRA"),
        ({"conv.weight": 2}, "holds no LoRA: conv.weight"),
        ({"unet.a.to_q.lora_A.weight": 2}, "a.to_q has only one of its two matrices"),
        ({}, "it is empty"),
    ],
)
def test_what_is_no_lora_is_refused(tmp_path: Path, state: dict[str, int], says: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file({name: torch.zeros(size, 2) for name, size in state.items()}, path)
    with pytest.raises(UserError, match=says):
        read_lora(path)


def test_no_file_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        read_lora(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"text")
    with pytest.raises(UserError, match="holds no LoRA"):
        read_lora(tmp_path / "a.safetensors")


def test_metadata_are_those_of_pefts_config(tmp_path: Path) -> None:
    from peft import LoraConfig

    layer = LoraLayer(torch.randn(4, 8), torch.randn(8, 4), 2.0)
    other = LoraLayer(torch.randn(2, 8), torch.randn(8, 2), 6.0)
    path = tmp_path / "d.safetensors"
    write_lora(
        Lora({"unet": {"a.to_q": layer, "a.to_k": layer, "b.to_q": other}}), path, "diffusers"
    )
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["lora_adapter_metadata"])
    config = LoraConfig(**{n.removeprefix("unet."): value for n, value in about.items()})
    assert (config.r, config.lora_alpha) == (4, 2.0)
    assert (config.rank_pattern, config.alpha_pattern) == ({"b.to_q": 2}, {"b.to_q": 6.0})
