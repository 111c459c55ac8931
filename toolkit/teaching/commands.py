"""The sub-commands of toolkit.teach: protocols, limits, packed targets looked at or written out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from toolkit.core.errors import UserError
from toolkit.store.layout import local_layout
from toolkit.teachers.api import teacher_module
from toolkit.teachers.protocol import difference, load_protocol, protocol_names


def list_protocols() -> None:
    """Lists the presets."""
    for name in protocol_names():
        found = load_protocol(name)
        print(f"{name:<16} {found.teacher:<18} {found.tag}")


def show_protocol(name: str, *, sentence: bool = False) -> None:
    """Shows a protocol, or the sentence that describes it in a paper.

    Args:
        name: of a preset, or a PATH.toml.
        sentence: print only that.
    """
    found = load_protocol(name)
    if sentence:
        module = teacher_module(found.teacher)
        print(module.sentence(found.settings, found.size, found.seeds))
        return
    for field, value in found.fields().items():
        print(f"{field:<20} {value}")
    print(f"{'sha256':<20} {found.sha256}\n{'in manifests':<20} {found.tag}")


def diff_protocols(a: str, b: str) -> None:
    """Shows what two protocols say differently.

    Args:
        a: of a preset, or a PATH.toml.
        b: another.
    """
    left, right = load_protocol(a), load_protocol(b)
    found = difference(left, right)
    print(f"{'':<20} {left.name:<16} {right.name}")
    for field, (one, other) in found.items():
        print(f"{field:<20} {one!s:<16} {other}")
    if not found:
        print("they say the same")


def export(
    *,
    as_: Literal["folder"] = "folder",
    out: Path,
    name: str = "targets",
    where: str = "true",
    meta: Literal["csv", "json"] = "csv",
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Writes targets as CONTENT_STYLE_seedN.png with one table of how each was made.

    Args:
        as_: folder.
        out: the folder.
        name: the dataset's.
        where: SQL over the manifest's columns, for example "grade='A' and protocol_exact".
        meta: csv or json, of the table.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from toolkit.teaching.export import export_folder

    layout = local_layout(shards, manifests)
    count, written, others = export_folder(layout, name, where, out, meta)
    print(f"{count} pictures and meta.{meta} in {out}, {written} of them written now")
    if others:
        print(f"  {others} other pictures lie there, of which meta.{meta} says nothing")


def regrade(
    *,
    name: str = "targets",
    thresholds: Path | None = None,
    clip: str | None = None,
    device: str = "auto",
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Grades targets that are packed already, as columns of a sidecar: "quality.grade='A'".

    The rows' own grade and weight stay as they are, and so does what was refused while it was made,
    of which no picture is kept: `toolkit.teach --thresholds` under another --name makes it anew.

    Args:
        name: the dataset's; its samples are linked to contents and styles.
        thresholds: a TOML file of limits, as `calibrate` and `limits` write it; the built-in ones
            otherwise, whatever the dataset was made with.
        clip: folder or hub id of CLIP, for content consistency; not measured otherwise.
        device: of CLIP: cpu, cuda, cuda:1; a GPU where there is one otherwise.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from toolkit.teachers.grading import load_limits
    from toolkit.teaching import regrade as work
    from toolkit.teaching.clip import HOW_TO_GET, open_clip

    limits = load_limits(thresholds)
    found = work.regrade(local_layout(shards, manifests), name, limits, open_clip(clip, device))
    grades = ", ".join(f"{grade} {count}" for grade, count in sorted(found.grades.items()))
    by = f"the limits of {thresholds}" if thresholds else "the built-in limits"
    print(f"{name}, by {by}: {grades or 'nothing to grade'}")
    for cause, count in sorted(found.causes.items()):
        print(f"  would be refused, {cause}: {count}")
    for cause, count in sorted(found.skipped.items()):
        print(f"  not graded, {cause}: {count}")
    if clip is None:
        print(f"  CLIP's content consistency was not measured: {HOW_TO_GET}")
    print(f"  in queries: \"{work.SIDECAR}.grade='A'\"; the rows' own grade stays as it is")


def calibrate(*, labels: Path, out: Path | None = None) -> None:
    """Fits the limits of quality control to labelled pictures, and tells what they catch.

    Half of the contents fit, the other half is measured.

    Args:
        labels: a table, .csv or .jsonl, of picture, content, style (paths beside it) and label,
            which is good or a fault: black, constant, saturated, structure, leak, noise, grid, blur
            …
        out: writes the limits to this TOML file, for --thresholds=.
    """
    from toolkit.teachers.calibration import fit_limits, num_wrong
    from toolkit.teachers.grading import default_limits
    from toolkit.teaching.calibrate import read_labelled, table_of, unfitted, write_limits

    if not labels.is_file():
        raise UserError(f"there is no table {labels}")
    fit, held_out = read_labelled(labels)
    try:
        limits = fit_limits(fit)
    except ValueError as error:
        raise UserError(f"{labels}: {error}") from None
    for title, chosen in (("built-in limits", default_limits()), ("fitted limits", limits)):
        print(f"{title}, on the half that was not fitted to:")
        print("\n".join(f"  {line}" for line in table_of(held_out, chosen)))
    for line in unfitted(fit):
        print(line)
    before, now = num_wrong(held_out, default_limits()), num_wrong(held_out, limits)
    if now > before:
        print(f"the fitted limits are wrong about {now} pictures, the built-in ones about {before}")
    if out is not None:
        write_limits(out, limits)
        print(f"limits: {out}")


def limits(*, out: Path) -> None:
    """Writes the built-in limits of quality control as a TOML file, to change for --thresholds=.

    Args:
        out: the file.
    """
    from toolkit.teachers.grading import default_limits
    from toolkit.teaching.calibrate import write_limits

    write_limits(out, default_limits())
    print(f"limits: {out}")


COMMANDS: Mapping[str, Any] = {
    "export": export,
    "grade": regrade,
    "calibrate": calibrate,
    "limits": limits,
    "protocol": {"list": list_protocols, "show": show_protocol, "diff": diff_protocols},
}
"""By name, for `toolkit.core.command.run`."""
