"""Encoders of pictures and captions against the libraries' own pipelines."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.core.errors import UserError
from toolkit.encoders.api import open_encoder

Twin = Callable[[str], Path]
CAPTIONS = ["A cat on the street", "", "Two red dogs by the house, and a painting", "red " * 99]


def picture(side: int) -> Image.Image:
    rng = np.random.Generator(np.random.Philox(side))
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def test_clip_image_is_that_of_the_whole_model(twin: Twin) -> None:
    from transformers import CLIPImageProcessor, CLIPModel

    folder, image = twin("clip_image"), picture(32)
    model = CLIPModel.from_pretrained(folder)
    inputs = CLIPImageProcessor.from_pretrained(folder)(image, return_tensors="pt")
    encoder = open_encoder("clip_image", str(folder), outputs=("embedding", "tokens"))
    assert encoder.size == 32
    found = encoder.encode(pixels_of(image))
    with torch.no_grad():
        states = model.vision_model(**inputs, output_hidden_states=True)
        projected = model.visual_projection(states.pooler_output)
    torch.testing.assert_close(found["embedding"], projected)
    torch.testing.assert_close(found["tokens"], states.hidden_states[-2])
    assert set(open_encoder("clip_image", str(folder)).encode(pixels_of(image))) == {"embedding"}


def test_clip_text_is_that_of_the_whole_model(twin: Twin) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    folder = twin("clip_text")
    model, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    encoder = open_encoder("clip_text", str(folder), outputs=("tokens", "embedding"))
    found = encoder.encode(CAPTIONS)
    for number, caption in enumerate(CAPTIONS):  # one at a time, unpadded where that is shorter
        inputs = tokenizer(caption, truncation=True, max_length=77, return_tensors="pt")
        with torch.no_grad():
            states = model.text_model(**inputs)
            projected = model.text_projection(states.pooler_output)
        torch.testing.assert_close(found["embedding"][number], projected[0])
        length = inputs.input_ids.shape[1]
        torch.testing.assert_close(found["tokens"][number][:length], states.last_hidden_state[0])
        assert found["tokens"][number].shape[0] == 77


@pytest.mark.parametrize(("name", "side"), [("dinov2", 28), ("dino", 32)])
def test_dino_is_that_of_its_processor_and_model(name: str, side: int, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModel

    from tests import twins

    folder, image = getattr(twins, name)(tmp_path), picture(side)
    processor, model = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder)
    values = processor(image, do_resize=False, do_center_crop=False, return_tensors="pt")
    encoder = open_encoder("dino", str(folder), outputs=("embedding", "tokens"))
    assert encoder.size == side
    found = encoder.encode(pixels_of(image))
    with torch.no_grad():
        states = model(values.pixel_values).last_hidden_state
    torch.testing.assert_close(found["embedding"], states[:, 0])
    torch.testing.assert_close(found["tokens"], states[:, 1:])
    larger = encoder.encode(pixels_of(picture(2 * side)))  # positions are fitted to it
    assert larger["tokens"].shape[1] == 4 * found["tokens"].shape[1]


def test_t5_is_what_pixart_sees(twin: Twin) -> None:
    """Its own pipeline's prompt encoding, cut to the places that are not masked."""
    from diffusers import PixArtAlphaPipeline
    from transformers import T5EncoderModel, T5Tokenizer

    folder = twin("t5")
    pipeline = PixArtAlphaPipeline(
        T5Tokenizer.from_pretrained(folder.parent / "tokenizer"),
        T5EncoderModel.from_pretrained(folder), None, None, None,
    )  # fmt: skip
    states, mask, *_ = pipeline.encode_prompt(
        CAPTIONS, do_classifier_free_guidance=False, clean_caption=False
    )
    found = open_encoder("t5", str(folder)).encode(CAPTIONS)["tokens"]
    whole = open_encoder("t5", str(folder.parent)).encode(CAPTIONS)["tokens"]  # of a pipeline
    assert all(map(torch.equal, whole, found))
    assert len({len(tokens) for tokens in found}) > 2
    for tokens, row, there in zip(found, states, mask, strict=True):
        torch.testing.assert_close(tokens, row[there.bool()])


def test_sdxl_text_is_what_its_pipeline_sees(twin: Twin) -> None:
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    folder = twin("sdxl_text")
    pipeline = StableDiffusionXLPipeline(
        None, CLIPTextModel.from_pretrained(folder / "text_encoder"),
        CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        CLIPTokenizer.from_pretrained(folder / "tokenizer_2"), None, None,
    )  # fmt: skip
    states, _, pooled, _ = pipeline.encode_prompt(
        CAPTIONS, device="cpu", do_classifier_free_guidance=False
    )
    encoder = open_encoder("sdxl_text", str(folder), outputs=("tokens", "embedding"))
    found = encoder.encode(CAPTIONS)
    torch.testing.assert_close(torch.stack(found["tokens"]), states)
    torch.testing.assert_close(torch.stack(found["embedding"]), pooled)


def test_weights_of_another_model_are_refused(twin: Twin) -> None:
    """transformers would load what fits and make the rest up."""
    with pytest.raises(UserError, match=r"lacks \d+ weights|holds no usable weights"):
        open_encoder("t5", str(twin("clip_text")))
    with pytest.raises(UserError, match="holds no usable weights"):
        open_encoder("autoencoder_kl", str(twin("t5")))
