"""Scoring pictures, beside torchmetrics, with networks of full size and random weights.

    python -m bench.scoring [--pictures=800] [--rounds=3]

Two commands take turns, each a process: `eval.run` on a folder of pictures, with nothing looked at
before; and a plain script that reads the same files in batches and updates torchmetrics
(bench/plain_scoring.py). Packing the folder is not counted: it happens in the warm-up. What
eval.run does besides (baselines, intervals, leaks, sidecars) is counted. Pictures are those of a
grid of contents and of twice as many styles; 800 are 20 × 40, as StyleID and ArtFID are evaluated.
"""

import shutil
import sys
from pathlib import Path

import fire

from bench.pictures import write_jpegs
from bench.timing import machine, pairs, summary, wall_s, write_results

NAMES = {"fid": "inception", "lpips": "lpips_alex", "clip_score": "clip"}


def main(
    pictures: int = 800, rounds: int = 3, size: int = 256, folder: str = "/tmp/tessera-bench",
    metrics: str = "fid,lpips,clip_score", alone: bool = True, keep: str = "scoring",
) -> None:  # fmt: skip
    """Measures each metric alone, and all in one run; keeps bench/results/scoring.json.

    Args:
        pictures: that are scored.
        rounds: pairs of runs.
        size: pixels a side.
        folder: for pictures and weights.
        metrics: of fid, lpips and clip_score, with commas between them.
        alone: whether each is measured by itself, too.
        keep: name of the file in bench/results, empty for none.
    """
    root = Path(folder) / f"scoring-{pictures}-{size}"
    weights = random_weights(Path(folder) / "networks")
    write_pictures(root, pictures, size)
    names = metrics.split(",") if isinstance(metrics, str) else list(metrics)
    rows = []
    for chosen in (*([name] for name in names if alone and len(names) > 1), names):
        ours = [
            sys.executable, "-m", "eval.run", f"--folder={root / 'out'}",
            f"--contents={root / 'contents'}", f"--styles={root / 'styles'}",
            f"--metrics={','.join(chosen)}", *_data(root), "--weights="
            + ",".join(f"{NAMES[name]}:{weights[NAMES[name]]}" for name in chosen),
        ]  # fmt: skip
        theirs = [
            sys.executable, "-m", "bench.plain_scoring", str(root), ",".join(chosen),
            *(f"--{name}={path}" for name, path in weights.items()),
        ]  # fmt: skip

        def run_ours(command: list[str] = ours) -> float:
            shutil.rmtree(root / "manifests" / ".features", ignore_errors=True)
            return wall_s(command)

        found = pairs(run_ours, lambda command=theirs: wall_s(command), rounds)  # type: ignore[misc]
        rows.append(summary(f"{' + '.join(chosen)} against torchmetrics", found, pictures))
        print(rows[-1], flush=True)
    about = {**machine(), "pictures": pictures, "size_px": size}
    write_results(keep, about, rows)


def write_pictures(root: Path, count: int, size: int) -> None:
    """contents/, styles/ and out/ with a caption for each content, unless they are there."""
    if (root / "done").exists():
        return
    contents = round((count / 2) ** 0.5)
    styles = -(-count // contents)
    sources = {}
    for name, number in (("contents", contents), ("styles", styles), ("made", count)):
        flat = write_jpegs(root / "raw" / name, number, size)
        sources[name] = sorted(flat.rglob("*.jpg"))
    rows = ["file_name,content,style_reference,caption"]
    for name, start in (("contents", "c"), ("styles", "s")):
        for number, path in enumerate(sources[name]):
            place = root / name / ("" if name == "contents" else f"style{number}")
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place / f"{start}{number:05}.jpg")
    (root / "out").mkdir(exist_ok=True)
    for number, path in enumerate(sources["made"]):
        content, style = divmod(number, styles)
        shutil.copy(path, root / "out" / f"{number:05}.jpg")
        rows.append(f"{number:05}.jpg,c{content:05},s{style:05},a photograph of thing {content}")
    (root / "out" / "metadata.csv").write_text("\n".join(rows) + "\n")
    (root / "done").touch()


def random_weights(folder: Path) -> dict[str, Path]:
    """Files of Inception, AlexNet and CLIP ViT-B/32 in their real sizes."""
    from tests.twins import EXTRACTORS

    found = {}
    for name in ("inception", "lpips_alex"):
        place = folder / name
        found[name] = next(place.glob("*.pth"), None) or EXTRACTORS[name](place)
    found["clip"] = folder / "clip"
    if not (found["clip"] / "model.safetensors").exists():
        from transformers import CLIPConfig, CLIPModel

        EXTRACTORS["clip"](found["clip"])  # tokenizer and sizes of pictures
        small = CLIPConfig.from_pretrained(found["clip"]).text_config
        special = {"vocab_size": small.vocab_size, "bos_token_id": small.bos_token_id,
                   "eos_token_id": small.eos_token_id}  # fmt: skip
        CLIPModel(CLIPConfig(text_config=special)).save_pretrained(found["clip"])
        picture_size = found["clip"] / "preprocessor_config.json"
        picture_size.write_text(picture_size.read_text().replace(": 32", ": 224"))
    return found


def _data(root: Path) -> list[str]:
    return [f"--{name}={root / name}" for name in ("shards", "manifests", "runs")]


if __name__ == "__main__":
    fire.Fire(main)
