"""Makes pictures with a trained run.

python -m train.stylize --run=runs/demo                        the validation pairs, as a dataset
python -m train.stylize --run=runs/demo --content=cat.jpg --style=wave.jpg --out=cat-wave.png
"""

import dataclasses
import itertools
import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.core import command
from toolkit.core.checks import at_least
from toolkit.core.config import describe, nest, resolve
from toolkit.core.errors import UserError, one_line
from toolkit.core.files import make_folder, write_atomic
from toolkit.store.layout import Layout, local_layout
from toolkit.store.manifest import read_manifest


def main(
    *,
    run: Path,
    content: Path | None = None,
    style: Path | None = None,
    caption: str = "",
    out: Path | None = None,
    name: str | None = None,
    dataset: str | None = None,
    where: str | None = None,
    limit: int | None = None,
    device: str | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    **options: str,
) -> None:
    """Stylises one picture, or a query's worth of pictures.

    With --content: writes one picture to --out. Without: stylises the validation samples of the
    run's main task and packs the pictures as the dataset NAME-out, linked to what they were made
    from. How pictures are made, the run's method decides; its options are flags.

    Args:
        run: the run's folder, for example runs/demo.
        content: a photograph; where the method works on latents, also a .pt file with one.
        style: a picture whose style to take, where the method takes one.
        caption: what the photograph shows, if the run was trained with captions.
        out: the PNG to write; otherwise runs/NAME/stylized/CONTENT_STYLE.png, or, where that is
            there, with a number.
        name: of the dataset that is packed; RUN-out otherwise, which is made anew each time.
        dataset: stylise samples of this dataset instead of the main task's.
        where: SQL condition on the samples instead of the validation split.
        limit: only so many samples, as the dataset RUN-out-rehearsal.
        device: cpu, cuda, cuda:1 …; the one of the training otherwise.
        seed: of the noise.
        checkpoint: a checkpoint by folder or name, as step-000100; the last one otherwise.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from train.methods import stylize_defaults
    from train.pictures import StylizeSettings
    from train.runs import alone, load_config, needs_of, open_run
    from train.trained import load_trained

    folder = open_run(run)
    settings = load_config(folder.config)
    if device is not None:
        settings = dataclasses.replace(settings, device=device)
    usual = stylize_defaults(settings.method, settings.method_config)
    how = resolve(usual, nest(options), "the flags")
    at_least(1, steps=how.steps)
    needs = needs_of(settings)
    chosen = StylizeSettings(how, needs, seed)
    _check(settings.method, needs, content, style, out)
    if content is not None:
        stem = f"{content.stem}_{style.stem if style else getattr(how, 'target_style', '')}"
        path = out or _free(folder.path / "stylized", stem.rstrip("_"))
        _check_out(path)
        pair = [_read(given) for given in (content, style) if given is not None]
        with alone(settings):
            method = load_trained(folder, settings, checkpoint).method
            _one(method, pair, caption, chosen, path)
        _tell(method)
        print(path)
        return
    layout = local_layout(shards, manifests)
    samples = _select(settings.data, dataset, where, layout)
    with alone(settings):
        trained = load_trained(folder, settings, checkpoint)
        _many(trained, chosen, layout, samples, name or folder.dataset, limit, checkpoint)
    _tell(trained.method)


def _free(folder: Path, stem: str) -> Path:
    """A picture's path in the folder that nothing has yet."""
    numbers = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    return next(path for n in numbers if not (path := folder / f"{stem}{n}.png").exists())


def _tell(method: Any) -> None:
    for note in method.notes():
        print(note, file=sys.stderr)


def _check(
    method: str, needs: Any, content: Path | None, style: Path | None, out: Path | None
) -> None:
    """Raises UserError for files that do not go together."""
    takes_style = "style" in needs.inputs
    if style is not None and not takes_style:
        raise UserError(
            f"--style={style}: {method} takes no picture for a style, name one with --target_style"
        )
    if takes_style and (content is None) != (style is None):
        raise UserError("give --content and --style together, or neither for the validation pairs")
    if content is None and out is not None:
        raise UserError("--out goes with --content; a query's pictures are packed")


def _read(path: Path) -> Any:
    """The bytes of a picture file that decodes, or the tensor of a .pt file. Raises UserError if it
    is neither."""
    from toolkit.store.images import PictureError
    from toolkit.store.ingest import ingest

    try:
        if path.suffix == ".pt":
            return _latent(path)
        return ingest(path.read_bytes()).data
    except OSError as error:
        raise UserError(f"cannot read the picture {path}: {error.strerror}") from None
    except PictureError as error:
        raise UserError(f"{path} is not a usable picture ({error.cause}): {error}") from None


def _latent(path: Path) -> Any:
    """float [1,C,h,w]."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises anything on files of another kind
        raise UserError(f"{path} holds no tensor: {one_line(error)[:120]}") from None
    if not isinstance(found, torch.Tensor) or found.ndim not in (3, 4) or len(found) < 1:
        raise UserError(f"{path} holds no latent [C,h,w]")
    if not found.isfinite().all():
        raise UserError(f"{path} holds values that are not finite")
    return (found if found.ndim == 4 else found[None])[:1].float()


def _check_out(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"--out={path} is a folder: name a file in it, as {path / 'picture.png'}")
    if path.suffix.lower() != ".png":
        raise UserError(f"--out={path}: pictures are written as PNG, name it {path.stem}.png")


def _one(method: Any, pair: list[Any], caption: str, chosen: Any, path: Path) -> None:
    import torch

    from train.methods.api import StylizeRequest
    from train.watch import save_picture, to_uint8

    device = next(method.module().parameters()).device
    given = [
        (_square(d, chosen.needs.size) if isinstance(d, bytes) else d).to(device) for d in pair
    ]
    is_latent = not isinstance(pair[0], bytes)
    made = method.stylize(
        StylizeRequest(
            content=None if is_latent else given[0],
            style=given[1] if len(given) > 1 else None,
            has_style=torch.ones(1, dtype=torch.bool),
            captions=(caption,),
            seeds=torch.tensor([chosen.seed]),
            how=chosen.how,
            labels=(None,),
            latents=given[0] if is_latent else None,
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


def _select(data: Any, dataset: str | None, where: str | None, layout: Layout) -> tuple[str, Any]:
    """The dataset, and its samples to stylise, under the name of its task."""
    from toolkit.store.selection import select
    from toolkit.stream.mix import parse_mix
    from toolkit.stream.tasks import dataset_of

    main = next(iter(parse_mix(data.mix)))
    task = dataset or main
    chosen = dataset_of(task, data.main)
    held_out = f"split = '{data.val_split}'"
    usual = [data.where, held_out] if task == main else [held_out]
    if where:
        return chosen, select(task, chosen, where, layout)
    try:
        return chosen, select(task, chosen, usual, layout)
    except UserError as error:
        raise UserError(
            f"{error}: name a picture with --content=FILE, or packed ones with --where="
        ) from None


def _many(
    trained: Any,
    chosen: Any,
    layout: Layout,
    samples: tuple[str, Any],
    name: str,
    limit: int | None,
    checkpoint: Path | None,
) -> None:
    from toolkit.packing.dataset import pack
    from train.methods.api import Translates
    from train.pictures import StylizedSource

    dataset, selection = samples
    method, folder, settings = trained.method, trained.folder, trained.settings
    source = StylizedSource(method, selection, dataset, chosen, trained.identity)
    if limit is not None:
        name = f"{name}-rehearsal"
        result = pack(source, name, layout, samples_per_shard=64, limit=limit)
        print(f"a rehearsal: {result.num_ok} pictures in the dataset {name}")
        return
    differ = _differences(layout, name, source.describe())
    result = pack(source, name, layout, samples_per_shard=64)
    if differ:
        print(f"{name} was made anew, with another {differ}; --name=… keeps both")
    if source.spent_s:
        cost = {
            **trained.identity,
            "pictures": result.num_ok,
            "seconds_per_picture": sorted(source.spent_s)[len(source.spent_s) // 2],
            "peak_memory_bytes": _peak_memory(settings.device),
            "parameters": sum(p.numel() for p in method.module().parameters()),
            "trainable": sum(t.numel() for t in method.trainable_state().values()),
            "solver_steps": chosen.how.steps,
            "device": settings.device,
            "threads": settings.threads,
        }
        write_atomic(folder.path / "stylize.json", json.dumps(cost, indent=1) + "\n")
    print(f"{result.num_ok} pictures in the dataset {name}, {result.num_failed} failed")
    key = read_manifest(layout.manifest(name, 0), ["key"])[0]["key"]
    print(f"one as a file: python -m toolkit.inspect show {name}/{key} --out=FOLDER")
    if name != folder.dataset:
        return
    if not isinstance(method, Translates):
        print(f"next: python -m eval.run --run={folder.path}")
        return
    given = f" --checkpoint={checkpoint}" if checkpoint else ""
    print(f"next: python -m eval.translation --run={folder.path}{given}")


def _peak_memory(device: str) -> int:
    """Bytes: of the card where pictures are made on one, else of the process."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _differences(layout: Layout, dataset: str, now: Mapping[str, Any]) -> str:
    """Names of what differs between how a dataset was made and how it is now to be made."""
    try:
        then = json.loads(layout.card(dataset).read_text("utf-8"))["made_by"]
    except (OSError, ValueError, LookupError):
        return ""
    plain = json.loads(json.dumps(now))
    return ", ".join(key for key, value in plain.items() if then.get(key) != value)


def _fields(_: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The options of the run's method; of all methods where no run is named."""
    from train.methods import method_names, stylize_defaults
    from train.runs import RunFolder, load_config

    run = RunFolder(Path(flags.get("run", "")))
    if "run" in flags and run.config.is_file():
        settings = load_config(run.config)
        usual = stylize_defaults(settings.method, settings.method_config)
        return f"options of {settings.method}:", describe(usual)
    texts: dict[str, str] = {}
    for method in method_names():
        for name, text in describe(stylize_defaults(method)).items():
            texts[name] = f"{texts[name]}, {method}" if name in texts else f"{text:<36} {method}"
    return "options and the methods that have them; with --run=DIR, those of the run:", texts


if __name__ == "__main__":
    command.run(main, "python -m train.stylize", fields=_fields)
