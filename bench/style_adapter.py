"""Whether an adapter beside the small backbone learns style, and which of its parts matter.

    python -m bench.style_adapter --photos=DIR --paintings=DIR --fill50k=DIR
        [--ways=control,sdedit,unpurified] [--seeds=0,1,2] [--steps=600] [--guidance=1.5]

On photographs and paintings of your own, at 64 pixels, by the commands: a fifth of both is held
out, targets are those of the teacher without weights. Ways are trained with each seed and compared
on the same held-out pairs. What is in --folder stays, so the same command goes on where it stopped.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fire
import numpy as np
from PIL import Image

from bench.timing import in_process, machine, write_results
from toolkit.store.layout import Layout

WAYS = {
    "control": (),
    "sdedit": ("--content_path=sdedit",),
    "unpurified": ("--purification=none",),
    "projection": ("--purification=projection",),
}
OWN = Path(__file__).parents[1] / "train/methods/style_adapter/weights/tiny"
_PICTURES = (".jpg", ".jpeg", ".png")


def main(
    photos: str, paintings: str, fill50k: str,
    ways: tuple[str, ...] | str = ("control", "sdedit", "unpurified"),
    seeds: tuple[int, ...] | int = (0, 1, 2), steps: int = 600, num_pairs: int = 1600,
    guidance: tuple[float, ...] | float = 1.5, num_inference_steps: int = 10,
    folder: str = "/tmp/tessera-bench/style_adapter", keep: str = "style_adapter",
) -> None:  # fmt: skip
    """Trains, measures, and keeps bench/results/KEEP.json and FOLDER/sheet.png.

    Args:
        photos, paintings: folders of pictures.
        fill50k: folder of Fill50K, as its authors publish it.
        ways: of `WAYS`, with commas between them.
        seeds: of weights, order and noise.
        steps: of each training.
        num_pairs: training targets; a tenth as many are held out.
        guidance: weights that pictures are made with.
        num_inference_steps: of each picture.
        folder: for data and runs.
        keep: name of the results, empty for none.
    """
    root, about = Path(folder), {**machine(), "steps": steps}
    about["num_inference_steps"] = num_inference_steps
    _prepare(root, Path(photos), Path(paintings), Path(fill50k), num_pairs)
    chosen = ways.split(",") if isinstance(ways, str) else ways
    weights = guidance if isinstance(guidance, tuple) else (guidance,)
    rows = []
    for way in chosen:
        for seed in seeds if isinstance(seeds, tuple) else (seeds,):
            name = f"{way}-{seed}-{steps}"
            _train(root, name, seed, steps, WAYS[way])
            made = [_stylize(root, name, weight, num_inference_steps) for weight in weights]
            rows.append({"way": way, "seed": seed, **_scores(root, name, made)})
    first = rows[0]["seed"]
    _sheet(root, [_dataset(f"{way}-{first}-{steps}", w) for way in chosen for w in weights])
    write_results(keep, about, rows)


def _prepare(root: Path, photos: Path, paintings: Path, fill50k: Path, num_pairs: int) -> None:
    """Data, targets, and what the frozen encoders make of them."""
    for name, source in (("content", photos), ("wikiart", paintings)):
        _copy(source, root / name)
        _run(root, "pack", "toolkit.pack", "folder", f"--src={root / name}", f"--name={name}")
    _run(root, "fill50k", "toolkit.pack", "fill50k", f"--src={fill50k}")
    plans = []
    for split, count in (("train", num_pairs), ("val", num_pairs // 10)):
        out = root / f"pairs-{split}-{num_pairs}"
        _run(root, "pairs", "toolkit.pairs", f"--num_pairs={count}", f"--split={split}",
             f"--out={out}")  # fmt: skip
        plans.append(str(out))
    _run(root, "teach", "toolkit.teach", "--protocol=reinhard", "--size=128", "--name=targets",
         f"--plan={','.join(plans)}")  # fmt: skip
    encode = ("toolkit.encode", "dataset in ('targets', 'content', 'wikiart', 'fill50k')")
    _run(root, "latents", *encode, "--encoder=autoencoder_kl", f"--weights={OWN / 'vae'}",
         "--target_size=64", "--sidecar=latents")  # fmt: skip
    _run(root, "clip", *encode, "--encoder=clip_image", f"--weights={OWN / 'clip'}",
         "--sidecar=clip_image")  # fmt: skip
    _run(root, "t5", *encode, "--encoder=t5", f"--weights={OWN / 'text_encoder'}", "--sidecar=t5")


def _copy(source: Path, out: Path) -> None:
    """The pictures, and a table that holds a fifth of them out, by their bytes."""
    if (out / "metadata.csv").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in _PICTURES):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[digest] = shutil.copyfile(path, out / f"{digest[:12]}{path.suffix.lower()}").name
    lines = [
        f"{name},{'val' if number % 5 == 0 else 'train'}"
        for number, (_, name) in enumerate(sorted(found.items()))
    ]
    (out / "metadata.csv").write_text("\n".join(["file_name,split", *lines, ""]))


def _run(root: Path, what: str, module: str, *words: str) -> None:
    """One command upon the data of the folder. Raises RuntimeError where it fails."""
    where = [f"--shards={root / 'shards'}", f"--manifests={root / 'manifests'}"]
    command = [sys.executable, "-m", module, *words, *where]
    print(f"{what}: {' '.join(command[2:-2])}", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


def _train(root: Path, name: str, seed: int, steps: int, flags: tuple[str, ...]) -> None:
    run = root / "runs" / name
    how = ["--resume"]
    if not any((run / "checkpoints").glob("*")):
        how = ["--config=tiny", "--main=targets", "--stored=true", f"--seed={seed}",
               f"--steps={steps}", "--sample_every=0", "--overwrite", *flags]  # fmt: skip
    if not (run / "done").exists():
        words = ("style_adapter", f"--name={name}", f"--runs={root / 'runs'}", *how)
        _run(root, "train", "train.run", *words)
        (run / "done").touch()


def _stylize(root: Path, name: str, guidance: float, steps: int) -> str:
    """Makes a run's pictures, unless they are there; returns their dataset."""
    dataset = _dataset(name, guidance)
    if not Layout(root / "shards", root / "manifests").card(dataset).exists():
        _run(root, "stylize", "train.stylize", f"--run={root / 'runs' / name}",
             f"--guidance={guidance}", f"--steps={steps}", f"--name={dataset}")  # fmt: skip
    return dataset


def _dataset(name: str, guidance: float) -> str:
    return f"{name}-g{guidance:g}".replace(".", "_")


def _scores(root: Path, name: str, made: list[str]) -> dict[str, Any]:
    return in_process(
        "bench.style_scores", str(root / "runs" / name), f"--pictures={','.join(made)}",
        f"--shards={root / 'shards'}", f"--manifests={root / 'manifests'}",
    )  # fmt: skip


def _sheet(root: Path, datasets: list[str], count: int = 12) -> None:
    """Content, style, target and each dataset's picture, one pair a row: FOLDER/sheet.png."""
    from bench.style_scores import Outputs

    layout = Layout(root / "shards", root / "manifests")
    sets = [Outputs(layout, dataset) for dataset in datasets]
    rows = []
    for number in range(0, len(sets[0].items), max(1, len(sets[0].items) // count)):
        item = sets[0].items[number]
        row = [sets[0].reference(item, role) for role in ("content", "style", "target")]
        rows.append(np.concatenate([*row, *(s.output(s.items[number]) for s in sets)], axis=1))
    sheet = Image.fromarray(np.concatenate(rows[:count]))
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.LANCZOS).save(
        root / "sheet.png"
    )


if __name__ == "__main__":
    fire.Fire(main)
