"""Tiny random models, saved as the hub has the real ones: same files, same keys, other sizes."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

WORDS = [
    "a",
    "an",
    "the",
    "of",
    "in",
    "on",
    "two",
    "red",
    "blue",
    "cat",
    "dog",
    "street",
    "house",
    "painting",
    "by",
    "and",
]


def autoencoder_kl(folder: Path) -> Path:
    from diffusers import AutoencoderKL

    torch.manual_seed(1)
    AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        layers_per_block=1, sample_size=32, scaling_factor=0.18215,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def autoencoder_tiny(folder: Path) -> Path:
    from diffusers import AutoencoderTiny

    torch.manual_seed(2)
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1), latent_channels=4,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def taef2(folder: Path) -> Path:
    from safetensors.torch import save_file

    from toolkit.encoders.taef2 import FILES, make_decoder, make_encoder

    torch.manual_seed(3)
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in zip(FILES, (make_encoder(), make_decoder()), strict=True):
        save_file(module.half().state_dict(), folder / name)
    return folder


def clip(folder: Path, size: int = 32) -> Path:
    """Both towers, their tokenizer and their picture processor. size: pixels a side."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(4)
    config = CLIPConfig(
        text_config={**_clip_text_sizes(16), "projection_dim": 12}, projection_dim=12,
        vision_config={"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
                       "num_attention_heads": 2, "image_size": size, "patch_size": 8,
                       "projection_dim": 12},
    )  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    crop = {"height": size, "width": size}
    CLIPImageProcessor(size={"shortest_edge": size}, crop_size=crop).save_pretrained(folder)
    _clip_tokenizer(folder)
    return folder


def dinov2(folder: Path) -> Path:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(5)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                          image_size=42, patch_size=14, mlp_ratio=2)  # fmt: skip
    Dinov2Model(config).save_pretrained(folder)
    crop = {"height": 28, "width": 28}
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    BitImageProcessor(
        size={"shortest_edge": 32}, crop_size=crop, image_mean=mean, image_std=std
    ).save_pretrained(folder)
    return folder


def dino(folder: Path) -> Path:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(6)
    config = ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=24, image_size=32, patch_size=8)  # fmt: skip
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def t5(folder: Path) -> Path:
    """As a pipeline has it: `text_encoder` and `tokenizer`."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    torch.manual_seed(7)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -2.0)]
    pieces += [("▁" + word, -3.0) for word in WORDS] + [
        (c, -9.0) for c in "abcdefghijklmnopqrstuvwxyz▁"
    ]
    T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder / "tokenizer")
    config = T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
                      feed_forward_proj="gated-gelu")  # fmt: skip
    T5EncoderModel(config).save_pretrained(folder / "text_encoder")
    return folder / "text_encoder"


def sdxl_text(folder: Path) -> Path:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(8)
    first = CLIPTextConfig(**_clip_text_sizes(16))
    second = CLIPTextConfig(**_clip_text_sizes(24), projection_dim=24)
    CLIPTextModel(first).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(second).save_pretrained(folder / "text_encoder_2")
    for name in ("tokenizer", "tokenizer_2"):
        _clip_tokenizer(folder / name)
    return folder


def sdxl(folder: Path) -> Path:
    """A whole pipeline in the hub's layout: model_index.json and a folder for each part."""
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    texts = sdxl_text(folder.with_name("sdxl_texts"))
    torch.manual_seed(9)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16, 16), layers_per_block=2, sample_size=8, in_channels=4,
        out_channels=4, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 1), attention_head_dim=(2, 2, 2),
        use_linear_projection=True, cross_attention_dim=40, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=24 + 6 * 8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4,
        layers_per_block=1, sample_size=64, scaling_factor=0.13025, force_upcast=True,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        timestep_spacing="leading", steps_offset=1,
    )  # fmt: skip
    StableDiffusionXLPipeline(
        vae, CLIPTextModel.from_pretrained(texts / "text_encoder"),
        CLIPTextModelWithProjection.from_pretrained(texts / "text_encoder_2"),
        CLIPTokenizer.from_pretrained(texts / "tokenizer"),
        CLIPTokenizer.from_pretrained(texts / "tokenizer_2"), unet, scheduler,
        add_watermarker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def stable_diffusion(folder: Path, prediction: str = "epsilon", flat: bool = True) -> Path:
    """A whole pipeline of Stable Diffusion 1.x (or, with v_prediction, 2.x): 32 pixels, latents
    4×16×16. flat: as transformers ≥ 5.6 writes the text encoder; as all before did otherwise."""
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    texts = folder.with_name(f"{folder.name}_texts")
    _clip_tokenizer(texts)
    torch.manual_seed(15)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=16, in_channels=4,
        out_channels=4, norm_num_groups=4, attention_head_dim=2, cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1, prediction_type=prediction,
    )  # fmt: skip
    StableDiffusionPipeline(
        AutoencoderKL.from_pretrained(autoencoder_kl(folder.with_name(f"{folder.name}_vae"))),
        CLIPTextModel(CLIPTextConfig(**_clip_text_sizes(16))),
        CLIPTokenizer.from_pretrained(texts), unet, scheduler, None, None,
        requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    if not flat:
        from safetensors.torch import load_file, save_file

        path = folder / "text_encoder" / "model.safetensors"
        state = {f"text_model.{n.removeprefix('text_model.')}": t for n, t in
                 load_file(path).items()}  # fmt: skip
        save_file(state, path, metadata={"format": "pt"})
    return folder


def ip_adapter(folder: Path) -> Path:
    """For `sdxl`: sdxl_models/ with the adapter and its image encoder, as in the hub's
    repository."""
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    width, tokens, embedded = 40, 4, 12
    torch.manual_seed(10)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=8, projection_dim=embedded,
    )  # fmt: skip
    encoder = CLIPVisionModelWithProjection(config)
    encoder.save_pretrained(folder / "sdxl_models" / "image_encoder")
    unet = UNet2DConditionModel.from_pretrained(
        sdxl(folder.with_name("sdxl_for_adapter")), subfolder="unet"
    )
    state = {
        "image_proj.proj.weight": torch.randn(width * tokens, embedded) * 0.3,
        "image_proj.proj.bias": torch.randn(width * tokens) * 0.3,
        "image_proj.norm.weight": torch.ones(width), "image_proj.norm.bias": torch.zeros(width),
    }  # fmt: skip
    layers = [name for name in unet.attn_processors if "attn2" in name]
    every = list(unet.attn_processors)
    for name in layers:
        module = unet.get_submodule(name.removesuffix(".processor"))
        for part in ("k", "v"):
            weight = torch.randn(module.to_k.out_features, width) * 0.5
            state[f"ip_adapter.{every.index(name)}.to_{part}_ip.weight"] = weight
    save_file(state, folder / "sdxl_models" / "ip-adapter_sdxl.safetensors")
    return folder


def pixart(folder: Path) -> Path:
    """A whole PixArt-alpha pipeline: 64 pixels, latents 4×16×16, its own scheduler's settings."""
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        PixArtAlphaPipeline,
        PixArtTransformer2DModel,
    )
    from transformers import T5EncoderModel, T5Tokenizer

    texts = t5(folder.with_name("pixart_texts")).parent
    torch.manual_seed(11)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=4,
        cross_attention_dim=16, sample_size=16, patch_size=2, caption_channels=16,
        use_additional_conditions=False,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, norm_num_groups=4,
        layers_per_block=1, sample_size=64, scaling_factor=0.18215,
    )  # fmt: skip
    PixArtAlphaPipeline(
        T5Tokenizer.from_pretrained(texts / "tokenizer"),
        T5EncoderModel.from_pretrained(texts / "text_encoder"), vae, transformer,
        DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear"),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def csd(folder: Path) -> Path:
    """The authors' file, with OpenAI's names of weights."""
    from piq.feature_extractors.clip import VisionTransformer

    torch.manual_seed(12)
    folder.mkdir(parents=True, exist_ok=True)
    tower = VisionTransformer(32, 8, 64, 2, 1, 12).state_dict()
    projection = tower.pop("proj")
    state = {f"backbone.{name}": tensor for name, tensor in tower.items()}
    state |= {"last_layer_style": projection, "last_layer_content": projection.clone()}
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def clip_iqa(folder: Path) -> Path:
    """TorchScript and tokens, as the package piq keeps them."""
    from piq.feature_extractors.clip import CLIP

    torch.manual_seed(13)
    folder.mkdir(parents=True, exist_ok=True)
    model = CLIP(12, 64, (1, 1, 1, 1), 2, 8, 77, 64, 64, 1, 1).eval()
    tokens = torch.zeros(2, 77, dtype=torch.long)
    tokens[:, :4] = torch.tensor([[62, 5, 9, 63], [62, 7, 9, 63]])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, (torch.rand(1, 3, 64, 64), tokens), check_trace=False)
    torch.jit.save(traced, folder / "RN50.pt")
    torch.save(tokens, folder / "clipiqa_tokens.pt")
    return folder


def inception(folder: Path) -> Path:
    from unittest import mock

    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    network_class = theirs.FeatureExtractorInceptionV3
    with (
        torch.device("meta"),
        mock.patch.object(theirs, "load_state_dict_from_url"),
        mock.patch.object(network_class, "load_state_dict"),
    ):
        network = network_class("inception-v3-compat", ["2048"])
    return _random_file(network.state_dict(), folder / "inception.pth")


def torchvision_file(name: str, **options: object) -> Callable[[Path], Path]:
    """A network of torchvision with random weights, without its classifier."""

    def make(folder: Path) -> Path:
        import torchvision

        with torch.device("meta"):
            state = getattr(torchvision.models, name)(weights=None, **options).state_dict()
        kept = {n: t for n, t in state.items() if not n.startswith(("classifier", "fc.", "Aux"))}
        return _random_file(kept, folder / f"{name}.pth")

    return make


def _random_file(state: dict[str, torch.Tensor], path: Path) -> Path:
    """Weights of the size that keeps activations as large as they are; normalisations that do
    nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(14)
    made = {}
    for name, tensor in state.items():
        if tensor.ndim > 1:
            fan_in = tensor[0].numel()
            made[name] = torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            made[name] = torch.full(
                tensor.shape, float("running_var" in name or "bn.weight" in name)
            )
        made[name] = made[name].to(tensor.dtype)
    torch.save(made, path)
    return path


EXTRACTORS: dict[str, Callable[[Path], Path]] = {
    "dino": dino, "dinov2": dinov2, "dino_keys": dino, "clip": clip, "clip_large": clip,
    "csd": csd, "clip_iqa": clip_iqa, "inception": inception,
    "art_inception": torchvision_file("inception_v3", init_weights=False),
    "lpips_alex": torchvision_file("alexnet"), "lpips_vgg": torchvision_file("vgg16"),
    "lpips_squeeze": torchvision_file("squeezenet1_1"), "vgg19": torchvision_file("vgg19"),
}  # fmt: skip

TWINS: dict[str, Callable[[Path], Path]] = {
    "autoencoder_kl": autoencoder_kl, "autoencoder_tiny": autoencoder_tiny, "taef2": taef2,
    "clip_image": clip, "clip_text": clip, "dino": dinov2, "t5": t5, "sdxl_text": sdxl_text,

}  # fmt: skip


def _clip_text_sizes(width: int) -> dict[str, int]:
    return {
        "vocab_size": len(_clip_vocab()), "hidden_size": width, "intermediate_size": 24,
        "num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 77,
        "bos_token_id": len(_clip_vocab()) - 2, "eos_token_id": len(_clip_vocab()) - 1,
    }  # fmt: skip


def _clip_vocab() -> dict[str, int]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    return {name: number for number, name in enumerate(names)}


def _clip_tokenizer(folder: Path) -> None:
    """The two files of the hub's older repositories, without merges: a token a letter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_clip_vocab()))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )
