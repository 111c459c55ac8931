"""Makes pictures with a trained run.

python -m train.stylize --run=runs/demo                        the validation pairs, as a dataset
python -m train.stylize --run=runs/demo --content=cat.jpg --style=wave.jpg --out=cat-wave.png
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.core import command
from toolkit.core.checks import at_least
from toolkit.core.config import describe, nest, resolve
from toolkit.core.errors import UserError
from toolkit.core.log import note
from toolkit.store.layout import Layout, local_layout
from train.config import Precision


def main(
    *,
    run: Path,
    content: Path | None = None,
    style: Path | None = None,
    caption: str = "",
    prompts: Path | None = None,
    out: Path | None = None,
    files: Path | None = None,
    name: str | None = None,
    dataset: str | None = None,
    where: str | None = None,
    limit: int | None = None,
    device: str | None = None,
    precision: Precision = "fp32",
    threads: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    **options: str,
) -> None:
    """Stylises one picture, or a query's worth of pictures.

    With --content: writes one picture to --out. Without: stylises the validation samples of the
    run's main task and packs the pictures as the dataset NAME-out, linked to what they were made
    from. Where the method makes pictures from texts, --caption makes one; without it, those of the
    prompts that came with the style's pictures are packed. How pictures are made, the run's method
    decides; its options are flags.

    Args:
        run: the run's folder, for example runs/demo.
        content: a photograph; where the method works on latents, also a .pt file with one.
        style: a picture whose style to take, where the method takes one.
        caption: what the photograph shows, if the run was trained with captions; or what is to be
            drawn.
        prompts: a file of what is to be drawn, a line each or JSON as {"0": "Dolphin"}.
        out: the PNG to write; otherwise runs/NAME/stylized/CONTENT_STYLE.png, or, where that is
            there, with a number.
        files: a folder for pictures of texts besides, as STYLE/TEXT.png: what eval.score takes.
        name: of the dataset that is packed; RUN-out otherwise, which is made anew each time.
        dataset: stylise samples of this dataset instead of the main task's.
        where: SQL condition on the samples instead of the validation split.
        limit: only so many samples, as the dataset RUN-out-rehearsal.
        device: cpu, cuda, cuda:1 …; the one of the training otherwise.
        precision: of the arithmetic: fp32, bf16, fp16, or auto as in training.
        threads: of the CPU; those of the training otherwise.
        seed: of the noise.
        checkpoint: a checkpoint by folder or name, as step-000100; the last one otherwise.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from train.many_pictures import make_many
    from train.methods import fallbacks, stylize_defaults
    from train.picture_files import write_files
    from train.pictures import StylizedSource
    from train.prompted import PromptedSource
    from train.runs import alone, load_config, needs_of, open_run

    folder = open_run(run)
    settings = load_config(folder.config)
    if threads is not None:
        at_least(1, threads=threads)
    settings = dataclasses.replace(
        settings, device=device or settings.device, threads=threads or settings.threads
    )
    usual = stylize_defaults(settings.method, settings.method_config)
    how = resolve(usual, nest(options), "the flags")
    at_least(1, steps=how.steps)
    needs = needs_of(settings)
    opened = _Opened(folder, settings, how, needs, seed, precision, checkpoint)
    from_texts = not needs.inputs
    _check(settings.method, needs, how, content, style, prompts, files)
    if content is not None or (from_texts and caption):
        if from_texts:
            _check_one(settings.method, how, style)
        _make_one(opened, content, style, caption, out)
        return
    layout = local_layout(shards, manifests)
    if out is not None:
        raise UserError("--out goes with one picture; many are packed as a dataset, --name=…")
    if from_texts and dataset is None and where is None:
        wanted: Any = (*_prompts(settings.data, layout, prompts), fallbacks(settings.method, how))
        kind: Any = PromptedSource
    else:
        wanted, kind = _select(settings.data, dataset, where, layout), StylizedSource
    with alone(settings):
        trained, chosen = opened.load()
        source = kind(trained.method, chosen, trained.identity, *wanted)
        make_many(trained, source, layout, name or folder.dataset, limit, checkpoint)
    if files is not None and limit is None:
        count = write_files(layout, name or folder.dataset, files)
        print(f"{count} files in {files}")
    _tell(trained.method)


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A run, and how its pictures are to be made."""

    folder: Any
    settings: Any
    how: Any
    needs: Any
    seed: int
    precision: Precision
    checkpoint: Path | None

    def load(self) -> tuple[Any, Any]:
        """The run's `Trained`, and `StylizeSettings`."""
        from train.pictures import StylizeSettings
        from train.trained import load_trained

        trained = load_trained(self.folder, self.settings, self.checkpoint, self.precision)
        return trained, StylizeSettings(
            self.how, self.needs, self.seed, precision=trained.precision
        )


def _make_one(
    opened: _Opened, content: Path | None, style: Path | None, caption: str, out: Path | None
) -> None:
    from train.one_picture import check_out, free_path, make_one, read_given
    from train.runs import alone

    what = content.stem if content else re.sub(r"[^\w-]+", "-", caption)[:60]
    stem = f"{what}_{style.stem if style else getattr(opened.how, 'target_style', '')}"
    path = out or free_path(opened.folder.path / "stylized", stem.strip("_-"))
    check_out(path)
    files = {"content": content, "style": style}
    given = {role: read_given(file) for role, file in files.items() if file is not None}
    with alone(opened.settings):
        trained, chosen = opened.load()
        make_one(trained.method, given, caption, chosen, path)
    _tell(trained.method)
    print(path)


def _tell(method: Any) -> None:
    for line in method.notes():
        note(line)


def _check_one(method: str, how: Any, style: Path | None) -> None:
    """Raises UserError for options that do not go with one picture of a text."""
    from train.methods import fallbacks

    if fallbacks(method, how):
        raise UserError(
            "--fallback goes with many pictures: write the text to a file and give --prompts=FILE"
        )
    if style is None and getattr(how, "wants_style", False):
        raise UserError("--inject.layers: give a picture of the style with --style")


def _check(
    method: str, needs: Any, how: Any, content: Path | None, style: Path | None,
    prompts: Path | None, files: Path | None,
) -> None:  # fmt: skip
    """Raises UserError for files that do not go together."""
    takes_style = "style" in needs.inputs
    for role, file in (("content", content), ("style", style)):
        if file is not None and role in needs.takes and not getattr(how, f"wants_{role}", False):
            hint = ", as --init=content" if role == "content" else ""
            raise UserError(f"--{role}={file}: is used where an option wants one{hint}: see --help")
    if style is not None and not takes_style and "style" not in needs.takes:
        raise UserError(
            f"--style={style}: {method} takes no picture for a style, name one with --target_style"
        )
    if takes_style and (content is None) != (style is None):
        raise UserError("give --content and --style together, or neither for the validation pairs")
    for flag, path in (("prompts", prompts), ("files", files)):
        if path is not None and needs.inputs:
            raise UserError(
                f"--{flag}={path}: {method} makes pictures from pictures, not from texts"
            )


def _select(data: Any, dataset: str | None, where: str | None, layout: Layout) -> tuple[Any, str]:
    """The samples to stylise, under the name of their task, and their dataset."""
    from toolkit.store.selection import select
    from toolkit.stream.mix import parse_mix
    from toolkit.stream.tasks import dataset_of

    main = next(iter(parse_mix(data.mix)))
    task = dataset or main
    chosen = dataset_of(task, data.main)
    held_out = f"split = '{data.val_split}'"
    usual = [data.where, held_out] if task == main else [held_out]
    if where:
        return select(task, chosen, where, layout), chosen
    try:
        return select(task, chosen, usual, layout), chosen
    except UserError as error:
        raise UserError(
            f"{error}: name a picture with --content=FILE, or packed ones with --where="
        ) from None


def _prompts(
    data: Any, layout: Layout, file: Path | None
) -> tuple[list[Any], dict[str, list[tuple[str, str]]], Layout]:
    """What is to be drawn in the styles that the run was trained on, their pictures, and where
    these lie."""
    from toolkit.stream.tasks import dataset_of, tasks_of
    from train.prompts import prompts_of

    _, (main, *_) = tasks_of(data.mix, data.main, data.where, data.split, layout)
    dataset = dataset_of(main.name, data.main)
    pictures: dict[str, list[tuple[str, str]]] = {}
    for row in main.table.select(["key", "style"]).to_pylist():
        pictures.setdefault(row["style"] or "", []).append((dataset, row["key"]))
    styles = [style or None for style in sorted(pictures)]
    return prompts_of(styles, layout, dataset, file), pictures, layout


def options_of(_: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
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
    command.run(main, "python -m train.stylize", fields=options_of)
