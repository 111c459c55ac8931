"""Latent spaces against the libraries' own results, and against what must hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from tests import twins
from toolkit.core.errors import UserError
from toolkit.encoders.api import open_encoder
from toolkit.stream.decode import decode_cut

SHARED = Path(__file__).resolve().parents[4] / "shared"
Twin = Callable[[str], Path]


@pytest.fixture
def pixels() -> torch.Tensor:
    rng = np.random.Generator(np.random.Philox(3))
    return torch.from_numpy(rng.integers(0, 256, (3, 3, 32, 32), np.uint8))


def test_kl_is_that_of_diffusers(twin: Twin, pixels: torch.Tensor) -> None:
    codec = open_encoder("autoencoder_kl", str(twin("autoencoder_kl")))
    model = AutoencoderKL.from_pretrained(twin("autoencoder_kl"))
    inputs = pixels.float() / 255 * 2 - 1
    with torch.no_grad():
        posterior = model.encode(inputs).latent_dist
        encoded = codec.encode(pixels)["latent"]
        mean, logvar = encoded.chunk(2, dim=1)
        torch.testing.assert_close(mean, posterior.mean)
        torch.testing.assert_close(logvar, posterior.logvar)
        assert (codec.channels, codec.factor) == (mean.shape[1], 32 // mean.shape[-1])
        noise = torch.randn(mean.shape)
        drawn = (posterior.mean + posterior.std * noise) * model.config.scaling_factor
        torch.testing.assert_close(codec.latents(encoded, noise), drawn)
        torch.testing.assert_close(codec.latents(encoded), posterior.mean * 0.18215)
        expected = model.decode(posterior.mean).sample
        torch.testing.assert_close(codec.decode(codec.latents(encoded)), expected)


def test_kl_takes_a_whole_pipeline(twin: Twin, tmp_path: Path, pixels: torch.Tensor) -> None:
    (tmp_path / "vae").symlink_to(twin("autoencoder_kl"))
    alone = open_encoder("autoencoder_kl", str(twin("autoencoder_kl")))
    inside = open_encoder("autoencoder_kl", str(tmp_path))
    assert inside.identity == alone.identity


def test_kl_shifts_as_its_configuration_says(tmp_path: Path, pixels: torch.Tensor) -> None:
    model = AutoencoderKL(
        block_out_channels=(4,), norm_num_groups=2, scaling_factor=0.36, shift_factor=0.11
    )
    model.save_pretrained(tmp_path)
    codec = open_encoder("autoencoder_kl", str(tmp_path))
    encoded = codec.encode(pixels)["latent"]
    mean = encoded.chunk(2, dim=1)[0]
    torch.testing.assert_close(codec.latents(encoded), (mean - 0.11) * 0.36)
    with torch.no_grad():
        torch.testing.assert_close(codec.decode(codec.latents(encoded)), model.decode(mean).sample)


def test_a_decode_that_overflows_in_half_precision_is_done_in_full(
    twin: Twin, tmp_path: Path, pixels: torch.Tensor
) -> None:
    """As the autoencoder of SDXL does in fp16: activations beyond 65,504, harmless in the end."""
    model = AutoencoderKL.from_pretrained(twin("autoencoder_kl"))
    with torch.no_grad():
        model.post_quant_conv.weight.mul_(1e4)  # still a number in fp16, what it gives is not
        model.decoder.conv_in.weight.mul_(1e2)
    model.config.force_upcast = False
    model.save_pretrained(tmp_path)
    full, half = (open_encoder("autoencoder_kl", str(tmp_path), "cpu", p) for p in ("fp32", "fp16"))
    latents = full.latents(full.encode(pixels)["latent"])
    found = half.decode(latents)
    assert found.isfinite().all()
    torch.testing.assert_close(found, full.decode(latents), atol=0.05, rtol=0.05)
    assert half.identity != full.identity


def test_tiny_is_that_of_diffusers(twin: Twin, pixels: torch.Tensor) -> None:
    codec = open_encoder("autoencoder_tiny", str(twin("autoencoder_tiny")))
    model = AutoencoderTiny.from_pretrained(twin("autoencoder_tiny"))
    with torch.no_grad():
        latents = model.encode(pixels.float() / 255 * 2 - 1).latents
        encoded = codec.encode(pixels)["latent"]
        torch.testing.assert_close(encoded, latents)
        torch.testing.assert_close(
            codec.decode(codec.latents(encoded)), model.decode(latents).sample
        )


def test_haar_comes_back_exactly_and_keeps_the_norm(pixels: torch.Tensor) -> None:
    codec = open_encoder("haar")
    encoded = codec.encode(pixels)["latent"]
    latents = codec.latents(encoded)
    back = (codec.decode(latents) + 1) * 127.5
    assert torch.equal(back.round().to(torch.uint8), pixels)
    assert torch.equal(codec.decode(latents), (pixels.float() / 127.5 - 1))
    energy = ((pixels.double() - 128) ** 2).sum()
    torch.testing.assert_close((latents.double() ** 2).sum() * 128**2, energy)
    flat = codec.encode(torch.full((1, 3, 32, 32), 77, dtype=torch.uint8))["latent"]
    assert not flat[:, 3:].any()  # differences of nothing
    with pytest.raises(UserError, match="the Haar transform has none"):
        open_encoder("haar", "somewhere")


def test_pixels_come_back_exactly(pixels: torch.Tensor) -> None:
    codec = open_encoder("rgb")
    latents = codec.latents(codec.encode(pixels)["latent"])
    assert latents.shape == pixels.shape
    assert torch.equal(codec.decode(latents), pixels.float() / 127.5 - 1)
    with pytest.raises(UserError, match="pixels have none"):
        open_encoder("rgb", "somewhere")


def test_taef2_reads_the_hub_file_whose_keys_are_those_of_diffusers(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    parts = [
        load_file(twins.taef2(tmp_path / "two") / f"taef2_{p}coder.safetensors")
        for p in ("en", "de")
    ]
    joined = {f"encoder.layers.{key}": tensor for key, tensor in parts[0].items()}
    for key, tensor in parts[1].items():
        index, _, name = key.partition(".")
        joined[f"decoder.layers.{int(index) - 1}.{name}"] = tensor
    theirs = AutoencoderTiny(
        latent_channels=32, num_encoder_blocks=(1, 3, 3, 3), num_decoder_blocks=(3, 3, 3, 1)
    ).state_dict()  # the same network but for the branches that it cannot hold
    assert {key for key in joined if ".pool." not in key} == set(theirs)
    (tmp_path / "one").mkdir()
    save_file(joined, tmp_path / "one" / "taef2.safetensors")
    one, two = (open_encoder("taef2", str(tmp_path / name)) for name in ("one", "two"))
    assert one.identity == two.identity
    save_file({"some.tensor": torch.zeros(1)}, tmp_path / "one" / "taef2.safetensors")
    with pytest.raises(UserError, match="holds no usable weights"):
        open_encoder("taef2", str(tmp_path / "one"))


def test_taef2_refuses_files_of_another_network(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for name in ("taef2_encoder", "taef2_decoder"):
        save_file({"0.weight": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="holds no usable weights"):
        open_encoder("taef2", str(tmp_path))
    for name in ("taef2_encoder", "taef2_decoder"):
        (tmp_path / f"{name}.safetensors").write_text("not at all")
    with pytest.raises(UserError, match="holds no usable weights"):
        open_encoder("taef2", str(tmp_path))


@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the real weights are not here")
def test_taef2_with_its_real_weights_gives_photographs_back() -> None:
    codec = open_encoder("taef2", str(SHARED / "weights"))
    found = []
    for path in sorted((SHARED / "data" / "photos" / "coco").glob("*.jpg"))[:12]:
        out = np.zeros((256, 256, 3), np.uint8)
        decode_cut(path.read_bytes(), out)
        pixels = torch.from_numpy(out).permute(2, 0, 1)[None]
        found.append(psnr_of(codec, pixels))
    assert len(found) == 12
    assert np.mean(found) > 29


def psnr_of(codec: Any, pixels: torch.Tensor) -> float:
    latents = codec.latents(codec.encode(pixels)["latent"])
    error = (codec.decode(latents) - (pixels.float() / 127.5 - 1)) / 2
    return float(-10 * torch.log10((error**2).mean()))
