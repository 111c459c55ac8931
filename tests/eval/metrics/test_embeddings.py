"""DINO, CLIP, CSD and CLIP-IQA against the libraries' own pipelines; what is made of embeddings
against closed forms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from eval.features.api import Extractors
from eval.features.clip_iqa import TEXTS, load, open_unscaled
from eval.metrics import clip_iqa, clip_r, clip_score, dino_structure, open_metric
from eval.metrics.api import Tools
from eval.metrics.dino_similarity import cosine
from tests.eval.pictures import picture
from tests.twins import EXTRACTORS
from toolkit.core.errors import UserError


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root, made = tmp_path_factory.mktemp("weights"), dict[str, Path]()

    def get(name: str) -> Path:
        if name not in made:
            made[name] = EXTRACTORS[name](root / name)
        return made[name]

    return get


def looked(name: str, folder: Path, pixels: np.ndarray) -> np.ndarray:
    return Extractors({name: str(folder)})[name].look(pixels)[0]


def test_dinov2_is_the_pooled_output_after_the_models_own_processor(folders: Any) -> None:
    """As the competition's scorer computes it, with Pillow's resizing as in 2024."""
    from transformers import AutoModel
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    folder = folders("dinov2")
    model = AutoModel.from_pretrained(folder).eval()
    processor = BitImageProcessorPil.from_pretrained(folder)
    pixels = np.concatenate([picture(0, 90), picture(1, 90)], axis=1)
    given = processor(images=Image.fromarray(pixels), return_tensors="pt")
    with torch.no_grad():
        expected = model(**given).pooler_output[0].numpy()
    np.testing.assert_allclose(looked("dinov2", folder, pixels), expected, atol=2e-5)


def test_dino_sees_the_middle_at_eight_sevenths(folders: Any) -> None:
    """What lies outside the central square of a resized picture changes nothing."""
    folder = folders("dino")
    pixels = picture(0, 74)  # twice 37, of which the middle 32 are seen
    changed = pixels.copy()
    changed[:1] = 255 - changed[:1]
    other = pixels.copy()
    other[30:40] = 255 - other[30:40]
    own = looked("dino", folder, pixels)
    np.testing.assert_allclose(looked("dino", folder, changed), own, atol=1e-6)
    assert np.abs(looked("dino", folder, other) - own).max() > 1e-3


def test_dino_keys_are_those_of_the_last_layer(folders: Any) -> None:
    """Taken by a hook on the projection while the whole model runs."""
    from transformers import ViTModel

    folder = folders("dino_keys")
    model, seen = ViTModel.from_pretrained(folder).eval(), []
    model.layers[-1].attention.k_proj.register_forward_hook(lambda *g: seen.append(g[2][0]))
    pixels = picture(0, 224)
    mean, std = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    given = torch.from_numpy((pixels / np.float32(255) - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        model(given, interpolate_pos_encoding=True)
    keys = looked("dino_keys", folder, pixels)
    assert keys.shape == (1 + 28 * 28, 16)
    np.testing.assert_allclose(keys, seen[0].numpy(), atol=1e-4)


def test_structure_distance_of_known_similarities() -> None:
    """Two rows alike and one across, against three that are all across: two of nine entries differ
    by 1 … twice."""
    alike = np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 1, 0]], np.float32)
    across = np.array([[1.0, 0, 0], [0, 3.0, 0], [0, 0, 1]], np.float32)
    assert dino_structure.score((alike,), (across,)) == pytest.approx(2 / 9)
    assert dino_structure.score((across,), (across * 5,)) == pytest.approx(0)


def test_cosines() -> None:
    a, b = np.array([1.0, 0.0], np.float32), np.array([3.0, 4.0], np.float32)
    assert cosine((a,), (b,)) == pytest.approx(0.6)
    assert cosine((a,), (-a,)) == pytest.approx(-1)
    assert cosine((a,), (0 * a,)) == 0


def test_clip_embeddings_are_the_models_own(folders: Any) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    folder = folders("clip")
    model, tokenizer = (
        CLIPModel.from_pretrained(folder).eval(),
        CLIPTokenizer.from_pretrained(folder),
    )
    pixels = picture(0, 32)
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    given = torch.from_numpy((pixels / np.float32(255) - mean) / std).permute(2, 0, 1)[None]
    tokens = tokenizer(["a red cat"], padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        found = model(pixel_values=given, input_ids=tokens.input_ids)
    extractor = Extractors({"clip": str(folder)})["clip"]
    np.testing.assert_allclose(extractor.look(pixels)[0], found.image_embeds[0], atol=1e-5)
    assert extractor.text is not None
    np.testing.assert_allclose(extractor.text("a red cat")[0], found.text_embeds[0], atol=1e-5)


def test_clip_score_is_two_and_a_half_cosines_and_never_below_0() -> None:
    """Hessel et al. 2021, Eq. 1; the better caption scores higher."""
    a, b = (np.array([1.0, 0.0], np.float32),), (np.array([0.6, 0.8], np.float32),)
    assert clip_score.score(a, a) == pytest.approx(2.5)
    assert clip_score.score(a, b) == pytest.approx(1.5)
    assert clip_score.score(a, (-a[0],)) == 0


def test_retrieval_counts_how_many_others_are_nearer() -> None:
    own = np.array([1.0, 0.0])
    others = np.stack([[np.cos(t), np.sin(t)] for t in (0.1, 0.2, 0.3, 0.4, 0.5, 1.0)])
    for angle, rank in ((0.0, 0), (0.12, 2), (0.24, 4), (0.4, 5), (0.9, 6)):
        output = np.array([np.cos(angle), np.sin(angle)])
        assert int(((others @ output) > own @ output).sum()) == rank
        assert clip_r.found(output, own, others) == (rank < 5)
    # the own text among the others does not count against itself
    assert clip_r.found(own, own, np.repeat(own[None], 9, axis=0))


def test_words_are_a_file_and_part_of_what_is_reported(folders: Any, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("Cat\ndog\n\nhouse\nstreet\nred\n dog \n")
    assert clip_r.words_of(words) == ["cat", "dog", "house", "street", "red"]
    tools = Tools(Extractors({"clip_large": str(folders("clip_large"))}), words)
    metric = open_metric("clip_r", tools)
    assert metric.settings["texts"] == 6
    words.write_text("cat\nbird\nhouse\nstreet\nred\n")
    assert open_metric("clip_r", tools).fingerprint != metric.fingerprint
    words.write_text("cat\n")
    with pytest.raises(UserError, match="1 texts, and 5 are needed"):
        open_metric("clip_r", tools)
    with pytest.raises(UserError, match="cannot be read"):
        open_metric("clip_r", Tools(tools.extractors, tmp_path / "absent.txt"))


def test_the_built_in_words_are_distinct_and_many() -> None:
    assert len(clip_r.words_of(clip_r.NOUNS)) >= 200


@pytest.mark.parametrize("data_range", [255.0, 1.0])
def test_clip_iqa_equals_torchmetrics(folders: Any, peer: Any, data_range: float) -> None:
    """Its own functions over the same network, with the right range and with the wrong one that a
    competition's scorer gives them."""
    theirs = peer("eval", "torchmetrics.functional.multimodal.clip_iqa")
    folder = folders("clip_iqa")
    network, texts = load(str(folder), "cpu")
    batch = np.stack([picture(seed, 64) for seed in range(3)])
    images = torch.from_numpy(batch).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        seen = theirs._clip_iqa_update("clip_iqa", images, network, None, data_range, "cpu")
        expected = theirs._clip_iqa_compute(seen, texts, ["quality"]).numpy()
    opener = open_unscaled if data_range == 1.0 else None
    extractor = (
        opener(str(folder), "cpu") if opener
        else Extractors({"clip_iqa": str(folder)})["clip_iqa"]
    )  # fmt: skip
    assert extractor.text is not None
    pair = np.stack([extractor.text(text)[0] for text in TEXTS])
    own = [clip_iqa.share(extractor.look(pixels)[0], pair) for pixels in batch]
    np.testing.assert_allclose(own, expected, rtol=1e-4)


def test_clip_iqa_prefers_what_is_nearer_to_the_good_text() -> None:
    texts = np.array([[1.0, 0.0], [0.0, 1.0]])
    values = [clip_iqa.share(np.array([np.cos(t), np.sin(t)]), texts) for t in (0.0, 0.7, 0.9, 1.5)]
    assert values == sorted(values, reverse=True)
    middle = clip_iqa.share(np.array([0.6, 0.6]), texts)
    assert middle == pytest.approx(0.5)


def test_csd_is_openais_tower_with_the_authors_projection(folders: Any) -> None:
    """OpenAI's architecture as the package piq has it, fed by hand."""
    from piq.feature_extractors.clip import VisionTransformer

    folder = folders("csd")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    tower = VisionTransformer(32, 8, 64, 2, 1, 12).eval()
    backbone = {n.removeprefix("backbone."): t for n, t in state.items() if "backbone." in n}
    tower.load_state_dict({**backbone, "proj": state["last_layer_style"]})
    pixels = picture(0, 32)
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    given = torch.from_numpy((pixels / np.float32(255) - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = tower(given)[0].numpy()
    expected = expected / np.linalg.norm(expected)
    np.testing.assert_allclose(looked("csd", folder, pixels), expected, atol=1e-5)
