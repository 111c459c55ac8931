"""Configuration: strict names, types by annotation, and TOML that gives back what was written."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from toolkit.core.coerce import coerce
from toolkit.core.config import (
    describe,
    field_texts,
    load_layers,
    load_toml,
    nest,
    resolve,
    to_toml,
)
from toolkit.core.errors import UserError


@dataclass(frozen=True)
class Optim:
    lr: float = 1e-4
    betas: tuple[float, ...] = (0.9, 0.999)
    kind: Literal["adam", "lion"] = "adam"
    warmup: int | None = None


@dataclass(frozen=True)
class Data:
    where: str = "style = 'Cubism'"
    size: int = 64
    cache: Path = Path("cache")
    names: tuple[str, ...] = ("main", "fill50k")
    flip: bool = False
    nested: Optim = field(default_factory=Optim)


@dataclass(frozen=True)
class Config:
    """steps: how many steps."""

    name: str = "demo"
    steps: int = 100
    note: str | None = None
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)


def reread(config: Config, folder: Path) -> Config:
    path = folder / "config.toml"
    path.write_text(to_toml(config), "utf-8")
    return resolve(Config(), load_toml(path))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": 'quote " backslash \\ newline \n tab \t # comment', "steps": -5},
        {"name": "été 画 ß \x7f", "note": ""},
        {"note": "text", "optim": {"lr": 1e-30, "warmup": 0}},
        {"optim": {"lr": float("inf"), "betas": []}},
        {"data": {"names": ["a,b", "c'd", "e]f"], "cache": Path("/a b/c"), "flip": True}},
        {"data": {"nested": {"kind": "lion", "betas": [0.1, 1e300]}}, "optim": {"lr": 3}},
        {"data": {"where": "caption like '%[x]%' and width = 3 -- comment"}},
        {"steps": 2**53 + 1},
    ],
    ids=str,
)
def test_what_is_written_as_toml_is_read_back_equal(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    config = resolve(Config(), changes)
    assert reread(config, tmp_path) == config
    assert to_toml(reread(config, tmp_path)) == to_toml(config)


def test_an_emoji_survives_toml(tmp_path: Path) -> None:
    config = resolve(Config(), {"name": "a \U0001f600 face"})
    assert reread(config, tmp_path) == config


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"step": 1}, "unknown name step in config: did you mean steps?"),
        ({"optim": {"lrr": 1}}, "unknown name optim.lrr in config: did you mean lr?"),
        (
            {"data": {"nested": {"kin": 1}}},
            "unknown name data.nested.kin in config: did you mean",
        ),
        ({"qqqq": 1}, "unknown name qqqq in config: known: name, steps, note, data, optim"),
        ({"optim": 3}, "optim in config is a group: set optim.FIELD=VALUE"),
        ({"steps": {"a": 1}}, "steps in config is one value, not a group"),
        ({"steps": "many"}, "steps=many: takes a whole number"),
        ({"steps": 1.5}, "steps=1.5: takes a whole number"),
        ({"steps": True}, "steps takes a number"),
        ({"name": ["a"]}, "name takes text, got list"),
        ({"data": {"flip": "maybe"}}, "data.flip=maybe: write true or false"),
        ({"data": {"flip": 2}}, "data.flip=2: write true or false"),
        ({"optim": {"kind": "sgd"}}, "optim.kind='sgd': choose one of adam, lion"),
        ({"optim": {"betas": "0.9,x"}}, "optim.betas=x: takes a number"),
    ],
)
def test_wrong_names_and_types_are_refused(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(Config(), tree)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_later_layers_win_and_leave_the_rest_alone() -> None:
    preset = resolve(Config(), {"steps": 7, "optim": {"lr": 0.1, "kind": "lion"}}, "preset")
    final = resolve(preset, nest({"optim.lr": "0.2", "data.nested.warmup": "5"}))
    assert final.steps == 7
    assert final.optim == Optim(lr=0.2, kind="lion")
    assert final.data == Data(nested=Optim(warmup=5))
    assert preset.optim.lr == 0.1


def test_dotted_flags_become_groups() -> None:
    assert nest({"a.b.c": 1, "a.b.d": 2, "e": 3}) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
    with pytest.raises(UserError, match="a is given as a value too"):
        nest({"a": 1, "a.b": 2})


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("none", int | None, None),
        ("", Path | None, None),
        ("5", int | None, 5),
        ("5", int | str, 5),
        ("five", int | str, "five"),
        ("auto", Literal["auto"] | int, "auto"),
        ("0.5", Literal["auto"] | float, 0.5),
        ("a, b ,c", tuple[str, ...], ("a", "b", "c")),
        ("", tuple[int, ...], ()),
        ("yes", bool, True),
        ("1_000", int, 1000),
        (3, float, 3.0),
        ("~/x", Path, Path("~/x")),
        ("007", str, "007"),
    ],
)
def test_text_is_converted_to_its_annotation(text: Any, annotation: Any, value: Any) -> None:
    got = coerce(text, annotation, "x")
    assert got == value
    assert type(got) is type(value)


def test_help_describes_every_field_with_its_dotted_name() -> None:
    lines = describe(Config())
    assert lines["steps"].split() == ["--steps=100", "how", "many", "steps"]
    kind = lines["data.nested.kind"].split(maxsplit=1)
    assert kind == ["--data.nested.kind=adam", "one of adam, lion"]
    assert len(lines) == 3 + 5 + 4 + 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the config"),
        (b"a = = 1", "is not valid TOML"),
        (b"\xff\xfe", "is not valid TOML"),
    ],
)
def test_an_unusable_file_is_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "preset.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_toml(path)
    assert message in str(caught.value)
    assert "preset.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the config"):
        load_toml(tmp_path)


def test_files_that_are_like_others_come_after_them(tmp_path: Path) -> None:
    (tmp_path / "preset.toml").write_text("steps = 1\n")
    (tmp_path / "near.toml").write_text('like = "preset"\nsteps = 2\n')
    (tmp_path / "mine.toml").write_text('like = "near.toml"\nsteps = 3\n')
    found = load_layers(tmp_path / "mine.toml", lambda name: tmp_path / f"{name}.toml")
    assert [tree["steps"] for _, tree in found] == [1, 2, 3]


def test_files_that_lead_back_to_themselves_are_refused(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "b")):
        (tmp_path / f"{name}.toml").write_text(f'like = "{other}.toml"\n')
    with pytest.raises(UserError, match=r"b\.toml is like itself"):
        load_layers(tmp_path / "a.toml", Path)


@dataclass(frozen=True)
class Told:
    """Settings.

    rate: of change; 0 for none. low, high: bounds, with rate: in them. untold_: nothing.
    plain: a text that goes on
    over a line; see elsewhere. named: fast, or slow. other: how, fast or not.
    """

    rate: float = 0.5
    low: int = 1
    high: int = 2
    plain: tuple[str, ...] = ("a", "b")
    silent: bool = False
    named: Literal["slow", "fast"] = "fast"
    other: Literal["slow", "fast"] = "slow"


def test_help_tells_what_the_docstring_says_of_each_field() -> None:
    assert field_texts(Told()) == {
        "rate": "of change; 0 for none", "low": "bounds, with rate: in them. untold_: nothing",
        "high": "bounds, with rate: in them. untold_: nothing",
        "plain": "a text that goes on over a line; see elsewhere", "named": "fast, or slow",
        "other": "how, fast or not",
    }  # fmt: skip
    lines = describe(Told())
    assert lines["rate"].split(maxsplit=1) == ["--rate=0.5", "of change; 0 for none"]
    assert lines["plain"].startswith("--plain=a,b ")
    assert lines["silent"] == "--silent=False"
    assert lines["named"].endswith(" fast, or slow")
    assert lines["other"].endswith(" how, fast or not; one of slow, fast")
    assert all(len(line) <= 100 for text in lines.values() for line in text.splitlines())
