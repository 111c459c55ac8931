"""Scores a folder with torchmetrics, as its documentation shows; the peer of `bench.scoring`.

    python -m bench.plain_scoring FOLDER fid,lpips,clip_score \
        --inception=FILE --lpips_alex=FILE --clip=DIR
"""

import csv
import sys
from pathlib import Path
from typing import Any

import fire
import numpy as np

_BATCH = 32
_PEERS = Path(__file__).resolve().parents[1] / ".venv-peers" / "eval"


def main(folder: str, metrics: Any, inception: str, lpips_alex: str, clip: str) -> None:
    """Prints the scores."""
    sys.path.insert(0, str(_PEERS))
    import torch

    root, names = Path(folder), metrics.split(",") if isinstance(metrics, str) else list(metrics)
    with open(root / "out" / "metadata.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    opened = {name: _open(name, inception, lpips_alex, clip) for name in names}
    with torch.no_grad():
        if "fid" in opened:
            styles = sorted((root / "styles").rglob("*.jpg"))
            opened["fid"].update(_batch(styles), real=True)
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            made = _batch([root / "out" / row["file_name"] for row in part])
            if "fid" in opened:
                opened["fid"].update(made, real=False)
            if "lpips" in opened:
                contents = _batch([root / "contents" / f"{row['content']}.jpg" for row in part])
                opened["lpips"].update(made / 127.5 - 1, contents / 127.5 - 1)
            if "clip_score" in opened:
                opened["clip_score"].update(list(made), [row["caption"] for row in part])
        print({name: float(metric.compute()) for name, metric in opened.items()})


def _open(name: str, inception: str, lpips_alex: str, clip: str) -> Any:
    import torch

    if name == "fid":
        from torchmetrics.image.fid import FrechetInceptionDistance

        return FrechetInceptionDistance(2048, feature_extractor_weights_path=inception)
    if name == "lpips":
        import torchvision
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        state = torch.load(lpips_alex, weights_only=True)
        network = torchvision.models.alexnet

        def ours(*_: Any, **__: Any) -> Any:  # its download, answered by a file
            found = network(weights=None)
            found.load_state_dict(state, strict=False)
            return found

        torchvision.models.alexnet = ours
        return LearnedPerceptualImagePatchSimilarity("alex")
    from torchmetrics.multimodal.clip_score import CLIPScore
    from transformers import CLIPModel, CLIPProcessor

    class Clip(CLIPModel):  # torchmetrics expects tensors, as transformers 4 gave
        def get_image_features(self, *given: Any, **named: Any) -> Any:
            return super().get_image_features(*given, **named).pooler_output

        def get_text_features(self, *given: Any, **named: Any) -> Any:
            return super().get_text_features(*given, **named).pooler_output

    return CLIPScore(lambda: (Clip.from_pretrained(clip), CLIPProcessor.from_pretrained(clip)))


def _batch(paths: list[Path]) -> Any:
    """uint8 [B,3,H,W]."""
    import torch
    from PIL import Image

    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


if __name__ == "__main__":
    fire.Fire(main)
