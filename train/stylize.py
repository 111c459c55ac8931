"""Makes pictures with a trained run.

python -m train.stylize --run=runs/demo                        the validation pairs, as a dataset
python -m train.stylize --run=runs/demo --content=cat.jpg --style=wave.jpg --out=cat-wave.png
"""

import dataclasses
import json
import resource
from pathlib import Path
from typing import Any

from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.store.layout import Layout, local_layout


def main(
    *,
    run: Path,
    content: Path | None = None,
    style: Path | None = None,
    caption: str = "",
    out: Path | None = None,
    where: str | None = None,
    limit: int | None = None,
    device: str | None = None,
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
        limit: only so many pairs, as the dataset NAME-out-rehearsal.
        device: cpu, cuda, cuda:1 …; the one of the training otherwise.
        steps: solver steps.
        guidance: classifier-free guidance weight; 1 is none.
        strength: of the style; 0 is none, 1 as trained.
        seed: of the noise.
        checkpoint: a checkpoint by folder or name, as step-000100; the last one otherwise.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from train.runs import load_config, open_run

    if steps < 1:
        raise UserError(f"steps={steps}: takes 1 or more")
    if (content is None) != (style is None):
        raise UserError("give --content and --style together, or neither for the validation pairs")
    if content is None and out is not None:
        raise UserError("--out goes with --content and --style; a query's pictures are packed")
    folder = open_run(run)
    settings = load_config(folder.config)
    if device is not None:
        settings = dataclasses.replace(settings, device=device)
    if content is not None and style is not None:
        pair = (_read(content), _read(style))
        path = out or folder.path / "stylized" / f"{content.stem}_{style.stem}.png"
        _check_out(path)
        method, _ = _load(folder, settings, checkpoint)
        _one(method, pair, caption, _options(steps, guidance, strength, seed), path)
        print(path)
        return
    layout = local_layout(shards, manifests)
    selection = _select(settings.data, where, layout)
    method, identity = _load(folder, settings, checkpoint)
    options = _options(steps, guidance, strength, seed)
    _many(method, folder, settings, identity, options, layout, selection, limit)


def _options(steps: int, guidance: float, strength: float, seed: int) -> Any:
    from train.pictures import StylizeSettings

    return StylizeSettings(steps, guidance, strength, seed)


def _load(folder: Any, settings: Any, checkpoint: Path | None) -> tuple[Any, dict[str, Any]]:
    import torch

    from toolkit.core.files import sha256_of
    from toolkit.encoders.device import usable_device
    from train.runs import build_method
    from train.state import chosen_checkpoint, latest_checkpoint, load_weights, read_state

    if checkpoint is None:
        chosen = latest_checkpoint(folder.checkpoints)
    else:
        chosen = chosen_checkpoint(folder.checkpoints, checkpoint)
    state = read_state(chosen, settings.method)
    device = usable_device(settings.device)
    torch.set_num_threads(settings.threads)
    method = build_method(settings)
    method.module().to(device)
    method.load_trainable_state(load_weights(chosen))
    method.module().eval()
    weights = sha256_of(chosen / "weights.safetensors")
    return method, {"run": folder.path.name, "step": state.step, "weights": weights}


def _read(path: Path) -> bytes:
    """The bytes of a picture file that decodes. Raises UserError if it is none."""
    from toolkit.store.images import PictureError
    from toolkit.store.ingest import ingest

    try:
        return ingest(path.read_bytes()).data
    except OSError as error:
        raise UserError(f"cannot read the picture {path}: {error.strerror}") from None
    except PictureError as error:
        raise UserError(f"{path} is not a usable picture ({error.cause}): {error}") from None


def _check_out(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"--out={path} is a folder: name a file in it, as {path / 'picture.png'}")
    if path.suffix.lower() != ".png":
        raise UserError(f"--out={path}: pictures are written as PNG, name it {path.stem}.png")


def _one(method: Any, pair: tuple[bytes, bytes], caption: str, options: Any, path: Path) -> None:
    import torch

    from train.methods.api import StylizeRequest
    from train.watch import save_picture, to_uint8

    size = method.needs().size
    device = next(method.module().parameters()).device
    content, style = (_square(data, size).to(device) for data in pair)
    made = method.stylize(
        StylizeRequest(
            content=content,
            style=style,
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


def _square(data: bytes, size: int) -> Any:
    """Picture bytes as float [1,3,size,size] in [-1,1]."""
    import numpy as np
    import torch

    from toolkit.stream.decode import decode_square

    pixels = np.zeros((size, size, 3), np.uint8)
    decode_square(data, pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def _select(data: Any, where: str | None, layout: Layout) -> Any:
    from toolkit.store.selection import select

    held_out = [data.where, f"split = '{data.val_split}'"]
    return select("stylize", data.main, [where] if where else held_out, layout)


def _many(
    method: Any,
    folder: Any,
    settings: Any,
    identity: dict[str, Any],
    options: Any,
    layout: Layout,
    selection: Any,
    limit: int | None,
) -> None:
    from toolkit.packing.dataset import pack
    from train.pictures import StylizedSource

    source = StylizedSource(method, selection, settings.data.main, options, identity)
    if limit is not None:
        name = f"{folder.dataset}-rehearsal"
        result = pack(source, name, layout, samples_per_shard=64, limit=limit)
        print(f"a rehearsal: {result.num_ok} pictures in the dataset {name}")
        return
    result = pack(source, folder.dataset, layout, samples_per_shard=64)
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
