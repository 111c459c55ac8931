"""Pictures are looked at together only where that gives the bits of looking at each alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from eval.features.api import Extractor, Extractors, Features
from eval.together import TOGETHER, Together, gives_the_same
from tests.eval.pictures import picture
from tests.twins import clip as twin


def extractor(shift: float, looks: list[int]) -> Extractor:
    """The mean of a picture; several together are off by `shift` at their third place."""

    def alone(pixels: np.ndarray) -> Features:
        return (np.array([pixels.mean()], np.float32),)

    def several(pictures: list[np.ndarray]) -> list[Features]:
        looks.append(len(pictures))
        found = [alone(pixels) for pixels in pictures]
        found[2] = (found[2][0] + np.float32(shift),)
        return found

    return Extractor({"extractor": "mean", "shift": shift}, True, alone, None, several)


@pytest.mark.parametrize(("shift", "allowed"), [(0.0, True), (1e-4, False)])
def test_it_is_tried_once(shift: float, allowed: bool) -> None:
    looks: list[int] = []
    one, together = extractor(shift, looks), Together()
    assert [together.allowed(one) for _ in range(3)] == [allowed] * 3
    assert looks == [TOGETHER]


def test_without_a_way_to_look_together_there_is_nothing_to_try() -> None:
    assert not Together().allowed(Extractor({}, True, lambda pixels: (pixels,)))


def test_what_was_tried_holds_for_other_pictures(tmp_path: Path) -> None:
    """A real CLIP of ViT-B/32's width and patches: where the trial passes, pictures
    that it did not see are the same to the bit, whatever their company and place."""
    folder = twin(tmp_path / "clip", 224)
    assert Extractors({"clip": str(folder)})["clip"].several is None  # too narrow to tell
    from transformers import CLIPModel

    torch.manual_seed(0)
    config = CLIPModel.from_pretrained(folder).config
    sizes = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072,
             "num_hidden_layers": 2, "patch_size": 32}  # fmt: skip
    for name, size in sizes.items():
        setattr(config.vision_config, name, size)
    CLIPModel(config).save_pretrained(folder)
    clip = Extractors({"clip": str(folder)})["clip"]
    assert clip.several is not None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if not gives_the_same(clip):
            pytest.skip("the libraries of this machine give other bits for batches")
        pictures = [picture(seed, 40 + 8 * seed) for seed in range(TOGETHER)]
        for order in (range(TOGETHER), range(TOGETHER)[::-1]):
            found = clip.several([pictures[n] for n in order])
            for n, parts in zip(order, found, strict=True):
                assert np.array_equal(parts[0], clip.look(pictures[n])[0])
    finally:
        torch.set_num_threads(threads)
