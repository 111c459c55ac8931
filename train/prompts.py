"""What is to be drawn, where pictures are made from texts: things, each in a style."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from toolkit.store.selection import Selection


@dataclass(frozen=True)
class Prompt:
    """text: the thing to be drawn; style: its name, None for a model's own; number: from 0, which
    of several pictures of it."""

    text: str
    style: str | None = None
    number: int = 0

    @property
    def name(self) -> str:
        """What its picture is called: unlike any other's."""
        base = self.text if self.style is None else f"{self.style}/{self.text}"
        return f"{base} {self.number + 1}" if self.number else base


def several(texts: Iterable[str], style: str | None, each: int = 1) -> list[Prompt]:
    """`each` prompts of every text; a text that comes again goes on counting."""
    seen: Counter[str] = Counter()
    found = []
    for text in texts:
        found += [Prompt(text, style, seen[text] + n) for n in range(each)]
        seen[text] += each
    return found


def read_prompts(path: Path) -> list[str]:
    """The texts of a file: a line each, or JSON, a list or the values of an object in the order of
    its numbers. Raises UserError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the prompts {path}: {error}") from None
    found: object = [line.strip() for line in text.splitlines()]
    if path.suffix == ".json":
        try:
            found = json.loads(text)
        except ValueError as error:
            raise UserError(f"{path} is no JSON: {error}") from None
        if isinstance(found, dict):
            names = sorted(found, key=lambda name: (len(name), name))  # 2 before 10
            found = [found[name] for name in names]
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise UserError(f'{path}: takes a line for each prompt, or JSON as {{"0": "Dolphin"}}')
    prompts = [one for one in found if one]
    if not prompts:
        raise UserError(f"{path} holds no prompt")
    return prompts


def stored_prompts(layout: Layout, dataset: str) -> Mapping[str, Sequence[str]]:
    """By style, the prompts that came with a dataset; none where there are none."""
    try:
        card = json.loads(layout.card(dataset).read_text("utf-8"))
        found = card["made_by"].get("prompts", {})
    except (OSError, ValueError, LookupError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def has_prompts(selections: Sequence[Selection], layout: Layout, main: str) -> bool:
    """Whether prompts came with the pictures of each style of the first task."""
    styles = selections[0].table.column("style").unique().to_pylist()
    stored = stored_prompts(layout, main if selections[0].name == "main" else selections[0].name)
    return all(stored.get(style or "") for style in styles)


def prompts_of(
    styles: Sequence[str | None], layout: Layout, dataset: str, file: Path | None
) -> list[Prompt]:
    """What is to be drawn in each style.

    Args:
        styles: their names.
        layout: the data folders.
        dataset: of the styles' pictures; the prompts that came with it are taken, unless there is
        file: a file of prompts, for all styles alike.

    Raises:
        UserError: there is a style without a prompt.
    """
    if file is not None:
        texts = read_prompts(file)
        return [prompt for style in styles for prompt in several(texts, style)]
    stored = stored_prompts(layout, dataset)
    if lacking := [style for style in styles if not stored.get(style or "")]:
        raise UserError(
            f"no prompts came with the dataset {dataset} for the style {lacking[0]}: give "
            "--prompts=FILE with a line for each, or --caption=TEXT for one picture"
        )
    return [prompt for style in styles for prompt in several(stored[style or ""], style)]
