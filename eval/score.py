"""The score of the Jittor 2024 style competition, from its six terms or from pictures.

    python -m eval.score --dino=0.12 --hist=0.78 --fid=1.6 --lpips=0.43 --clip_iqa=0.76 --clip_r=0.9
    python -m eval.score --folder=outputs --references=A

The formula stands in eval/competition.py, how the terms are measured in eval/competition_terms.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.core.show import show
from toolkit.core.tree import walk_files

_TERMS = ("dino", "hist", "fid", "lpips", "clip_iqa", "clip_r")


def main(
    *,
    dino: float | None = None,
    hist: float | None = None,
    fid: float | None = None,
    lpips: float | None = None,
    clip_iqa: float | None = None,
    clip_r: float | None = None,
    folder: Path | None = None,
    references: Path | None = None,
    held_out: Path | None = None,
    words: Path | None = None,
    weights: tuple[str, ...] = (),
    device: str = "cpu",
    out: Path = Path("score.txt"),
    manifests: Path = Path("manifests"),
) -> None:
    """Puts six numbers together, or measures them, prints the parts, and writes them.

    Of pictures, both the published scorer's numbers (official) and those without its faults
    (corrected) are told, and which pictures are copies of references.

    Args:
        dino: similarity of DINOv2, -1 to 1.
        hist: correlation of colour histograms, -1 to 1.
        fid: Fréchet distance; from 20 it costs no more.
        lpips: perceptual distance.
        clip_iqa: quality, 0 to 1.
        clip_r: share of pictures whose word is among the first five, 0 to 1.
        folder: instead, pictures as STYLE/PROMPT.png.
        references: with folder: what the styles were learnt from, as STYLE/images/NAME.png or
            STYLE/NAME.png.
        held_out: other pictures of the styles, in the same way: the score against these is told
            too, which copies do not raise.
        words: with folder: the competition's list of prompts, a line each; a list of nouns that
            comes along otherwise, whose numbers are not comparable with published ones.
        weights: of extractors, as dinov2:FOLDER,clip_large:HUB_ID.
        device: cpu, cuda, cuda:1 ….
        out: the file.
        manifests: folder beside whose manifests features are kept.
    """
    given = dict(zip(_TERMS, (dino, hist, fid, lpips, clip_iqa, clip_r), strict=True))
    numbers = {name: value for name, value in given.items() if value is not None}
    if folder is not None:
        if numbers:
            raise UserError(f"--{next(iter(numbers))} goes without --folder: name one of them")
        if references is None:
            raise UserError("--folder goes with --references=DIR, what the styles were learnt from")
        text = _measured(folder, references, held_out, words, weights, device, manifests)
    else:
        lacking = [name for name, value in given.items() if value is None]
        if lacking:
            flags = ", ".join(f"--{name}" for name in lacking)
            raise UserError(f"{flags}: all six terms are needed, or --folder=DIR with pictures")
        text = _of_terms(numbers)
        print(text, end="")
    make_folder(out.parent)
    write_atomic(out, text)
    print(f"written: {out}")


def _of_terms(numbers: dict[str, float]) -> str:
    from eval.competition import Terms, final

    found = final(Terms(**numbers))
    return (
        f"style {found.style:.4f}\ntext {found.text:.4f}\nquality {found.quality:.4f}\n"
        f"final {found.score:.5f}\n"
    )


def _measured(
    folder: Path, references: Path, held_out: Path | None, words: Path | None,
    weights: tuple[str, ...], device: str, manifests: Path,
) -> str:  # fmt: skip
    from eval.competition_interval import intervals
    from eval.competition_terms import Judge, Measured, as_rows
    from eval.copies import nearest
    from eval.feature_store import FeatureStore
    from eval.features.api import Extractors
    from eval.metrics.clip_r import NOUNS, words_of
    from eval.run import weights_by_name

    generated, wanted = _styles(folder, "--folder"), _styles(references, "--references")
    _check(generated, wanted, references)
    extractors = Extractors(weights_by_name(weights), device)
    store = FeatureStore(manifests / ".features" / "features.sqlite")
    judge = Judge(extractors, words_of(words or NOUNS), store)
    lines: list[str] = []

    def tell(title: str, seen: Measured) -> None:
        scores = seen.scores()
        rows = as_rows(scores, intervals(seen))
        print(title)
        show(["term", *scores], rows)
        lines.extend([title, *("\t".join(map(str, row)) for row in (["term", *scores], *rows))])

    measured = judge.measure(generated, wanted)
    count = sum(map(len, generated.values()))
    tell(f"{count} pictures of {len(generated)} styles", measured)
    if held_out is not None:
        others = _styles(held_out, "--held_out")
        _check(generated, others, held_out)
        tell("against held-out references", judge.measure(generated, others))
    copies = [
        f"copy: {style}/{one.picture} of {one.training}, cosine {one.cosine:.3f}, {one.bits} bits"
        for style, files in generated.items()
        for one in nearest(files, wanted[style], judge)
        if one.is_copy
    ]
    notes = copies or ["copies of references: none"]
    if words is None:
        notes.append("clip_r is of the nouns that come along: --words=FILE takes the competition's")
    print("\n".join(notes))
    store.close()
    return "\n".join([*lines, *notes]) + "\n"


def _styles(folder: Path, flag: str) -> dict[str, list[Path]]:
    """The pictures of each style, by the folder's name, in order. Raises UserError."""
    from toolkit.store.images import is_picture

    if not folder.is_dir():
        raise UserError(f"{flag}={folder}: there is no such folder")
    found: dict[str, list[Path]] = {}
    for name in walk_files(folder, is_picture):
        style, slash, _ = name.partition("/")
        if slash:
            found.setdefault(style, []).append(folder / name)
    if not found:
        raise UserError(f"{flag}={folder}: there are no pictures as STYLE/NAME.png in it")
    return {style: sorted(found[style]) for style in sorted(found)}


def _check(
    generated: Mapping[str, Sequence[Path]], wanted: Mapping[str, Sequence[Path]], where: Path
) -> None:
    for style, files in generated.items():
        if style not in wanted:
            raise UserError(f"{where} has no pictures of the style {style}")
        if min(len(files), len(wanted[style])) < 2:
            raise UserError(f"the style {style} has one picture: FID of the last style needs two")


if __name__ == "__main__":
    command.run(main, "python -m eval.score")
