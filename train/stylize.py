"""Makes pictures with a trained run.

python -m train.stylize --run=runs/demo                        the validation pairs, as a dataset
python -m train.stylize --run=runs/demo --content=cat.jpg --style=wave.jpg --out=cat-wave.png
"""

import json
import resource
from pathlib import Path
from typing import Any

from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.store.layout import Layout


def main(
    *,
    run: Path,
    content: Path | None = None,
    style: Path | None = None,
    caption: str = "",
    out: Path | None = None,
    where: str | None = None,
    limit: int | None = None,
    steps: int = 10,
    guidance: float = 1.0,
    strength: float = 1.0,
    seed: int = 0,
    checkpoint: Path | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Stylises one picture, or a query's worth of pictures.

    With --content and --style: writes one picture to --out. Without: stylises the validation pairs
    of the run's main task and packs the pictures as the dataset NAME-out, linked to their halves.

    Args:
        run: the run's folder, for example runs/demo.
        content: a photograph.
        style: a picture whose style to take.
        caption: what the photograph shows, if the run was trained with captions.
        out: the PNG to write; runs/NAME/stylized/CONTENT_STYLE.png otherwise.
        where: SQL condition on the pairs instead of the validation split.
        limit: at most so many pairs.
        steps: solver steps.
        guidance: classifier-free guidance weight; 1 is none.
        strength: of the style; 0 is none, 1 as trained.
        seed: of the noise.
        checkpoint: a checkpoint folder; the run's last one otherwise.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from train.pictures import StylizeSettings
    from train.runs import load_config, open_run

    if steps < 1:
        raise UserError(f"steps={steps}: takes 1 or more")
    if (content is None) != (style is None):
        raise UserError("give --content and --style together, or neither for the validation pairs")
    folder = open_run(run)
    settings = load_config(folder.config)
    options = StylizeSettings(steps, guidance, strength, seed)
    method, identity = _load(folder, settings, checkpoint)
    if content is not None and style is not None:
        path = out or folder.path / "stylized" / f"{content.stem}_{style.stem}.png"
        _one(method, content, style, caption, options, path)
        print(path)
        return
    if out is not None:
        raise UserError("--out goes with --content and --style; a query's pictures are packed")
    layout = Layout(shards, manifests)
    _many(method, folder, settings, identity, options, layout, where, limit)


def _load(folder: Any, settings: Any, checkpoint: Path | None) -> tuple[Any, dict[str, Any]]:
    import torch

    from toolkit.core.files import sha256_of
    from train.runs import build_method
    from train.state import latest_checkpoint, load_weights, read_state

    torch.set_num_threads(settings.threads)
    chosen = checkpoint or latest_checkpoint(folder.checkpoints)
    state = read_state(chosen, settings.method)
    method = build_method(settings)
    method.module().to(settings.device)
    method.load_trainable_state(load_weights(chosen))
    method.module().eval()
    weights = sha256_of(chosen / "weights.safetensors")
    return method, {"run": folder.path.name, "step": state.step, "weights": weights}


def _one(method: Any, content: Path, style: Path, caption: str, options: Any, path: Path) -> None:
    import torch

    from train.methods.api import StylizeRequest
    from train.watch import save_picture, to_uint8

    size = method.needs().size
    device = next(method.module().parameters()).device
    made = method.stylize(
        StylizeRequest(
            content=_read(content, size).to(device),
            style=_read(style, size).to(device),
            has_style=torch.ones(1, dtype=torch.bool),
            captions=(caption,),
            seeds=torch.tensor([options.seed]),
            steps=options.steps,
            guidance=options.guidance,
            strength=options.strength,
        )
    )
    make_folder(path.parent)
    save_picture(path, to_uint8(made[0].cpu()))


def _read(path: Path, size: int) -> Any:
    """A picture file as float [1,3,size,size] in [-1,1]; UserError if it is none."""
    import numpy as np
    import torch

    from toolkit.store.images import PictureError, ingest
    from toolkit.stream.decode import decode_square

    pixels = np.zeros((size, size, 3), np.uint8)
    try:
        decode_square(ingest(path.read_bytes()).data, pixels)
    except OSError as error:
        raise UserError(f"cannot read the picture {path}: {error.strerror}") from None
    except PictureError as error:
        raise UserError(f"{path} is not a usable picture ({error.cause}): {error}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def _many(
    method: Any,
    folder: Any,
    settings: Any,
    identity: dict[str, Any],
    options: Any,
    layout: Layout,
    where: str | None,
    limit: int | None,
) -> None:
    from toolkit.packing.dataset import pack
    from toolkit.store.selection import select
    from train.pictures import StylizedSource

    data = settings.data
    held_out = [data.where, f"split = '{data.val_split}'"]
    conditions = [where] if where else held_out
    selection = select("stylize", data.main, conditions, layout)
    source = StylizedSource(method, selection, data.main, options, identity)
    result = pack(source, folder.dataset, layout, samples_per_shard=64, limit=limit)
    if source.spent_s:
        cost = {
            **identity,
            "pictures": result.num_ok,
            "seconds_per_picture": sorted(source.spent_s)[len(source.spent_s) // 2],
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "parameters": sum(p.numel() for p in method.module().parameters()),
            "solver_steps": options.steps,
            "device": settings.device,
            "threads": settings.threads,
        }
        write_atomic(folder.path / "stylize.json", json.dumps(cost, indent=1) + "\n")
    print(
        f"{result.num_ok} pictures in the dataset {folder.dataset}, {result.num_failed} failed; "
        f"next: python -m eval.run --run={folder.path}"
    )


if __name__ == "__main__":
    command.run(main, "python -m train.stylize")
