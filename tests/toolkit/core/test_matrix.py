"""Matrices from TOML: which rows there are, what each is trained with, and what is refused."""

import re
from pathlib import Path

import pytest

from eval.bridge import check_later_flags, resolved_flags
from toolkit.core.errors import UserError
from toolkit.core.matrix import Matrix, read_matrix

GRID = """
method = "style_adapter"
[train]
steps = 12
optim.lr = 1e-3
[axes]
layers = [4, 2, 0]
purification = ["gated", "none"]
mix = ["main:3,fill50k:1", "main:1"]
"""


def read(folder: Path, text: str, name: str | None = None) -> Matrix:
    path = folder / "purify.toml"
    path.write_text(text)
    return read_matrix(path, name, resolved_flags, check_later_flags)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_combination_is_a_row_the_baseline_first(tmp_path: Path) -> None:
    matrix = read(tmp_path, GRID)
    assert len(matrix.rows) == 3 * 2 * 2
    assert [row.name for row in matrix.rows[:4]] == [
        "baseline", "mix=main:1", "purification=none", "purification=none, mix=main:1",
    ]  # fmt: skip
    assert matrix.rows[0].flags == {
        "steps": "12", "optim.lr": "0.001", "method_config.adapter.layers": "4",
        "method_config.adapter.purification": "gated", "data.mix": "main:3,fill50k:1",
    }  # fmt: skip
    assert not matrix.rows[0].differs
    assert matrix.rows[3].differs == {
        "method_config.adapter.purification": "'none'", "data.mix": "'main:1'",
    }  # fmt: skip
    assert (matrix.config, matrix.seeds, matrix.name) == ("smoke", (0,), "purify")


def test_one_axis_at_a_time_and_rows_by_name(tmp_path: Path) -> None:
    text = GRID.replace("[train]", 'vary = "one"\nseeds = [3, 4]\n[train]')
    text += (
        '[rows.light]\nlayers = 1\ntokens = 2\n[stylize]\nsteps = 4\n[eval]\nmetrics = ["fid"]\n'
    )
    matrix = read(tmp_path, text)
    names = ["baseline", "layers=2", "layers=0", "purification=none", "mix=main:1", "light"]
    assert [row.name for row in matrix.rows] == names
    assert matrix.rows[-1].flags["method_config.adapter.tokens"] == "2"
    assert matrix.rows[-1].flags["method_config.adapter.purification"] == "gated"
    assert (matrix.stylize, matrix.evaluate) == ({"steps": "4"}, {"metrics": "fid"})
    runs = [matrix.run_name(row, seed) for row in matrix.rows for seed in matrix.seeds]
    assert runs[:3] == ["purify-baseline-s3", "purify-baseline-s4", "purify-layers-2-s3"]
    assert len(set(runs)) == 12


def test_runs_of_rows_with_long_or_like_names_are_told_apart(tmp_path: Path) -> None:
    text = 'method = "style_adapter"\n[axes]\nlayers = [4, 1]\n'
    text += "[rows.A-b]\nlayers = 2\n[rows.a_B]\nlayers = 3\n"
    text += f"[rows.{'long' * 15}]\nlayers = 5\n"
    matrix = read(tmp_path, text)
    names = [matrix.run_name(row, 0) for row in matrix.rows]
    assert len({name.lower() for name in names}) == 5
    assert max(map(len, names)) <= 59
    again = [matrix.run_name(row, 0) for row in read(tmp_path, text).rows]
    assert names == again


def test_a_config_beside_the_matrix_is_found(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('like = "smoke"\nsteps = 7\n')
    text = 'method = "style_adapter"\nconfig = "own.toml"\n[axes]\nsteps = [7, 8]\n'
    assert read(tmp_path, text).config == str(tmp_path / "own.toml")


HEAD = 'method = "style_adapter"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps = 3", "unknown name steps"),
        (HEAD + "axis = 3", "did you mean axes?"),
        ("[axes]\nlayers = [1, 2]", 'write method = "…"'),
        ('method = "style_adaptor"\n[axes]\nlayers = [1, 2]', "style_adapter"),
        (HEAD, "nothing differs: write [axes] or [rows.NAME]"),
        (HEAD + "[axes]\nlayers = [2]", "nothing differs"),
        (HEAD + "[axes]\nlayers = 2", "axes.layers: write a list of values"),
        (HEAD + "[axes]\nlayers = []", "axes.layers: write a list of values"),
        (HEAD + "[axes]\nlayers = [2, 2]", "one of its values is there twice"),
        (HEAD + "[axes]\nlayers = [2, {a = 1}]", "takes a text, a number, true or false"),
        (HEAD + "[axes]\nlayer = [2, 3]", "unknown flag --layer: did you mean"),
        (HEAD + "[axes]\nlayers = [2, 'many']", "layers=many: takes a whole number"),
        (HEAD + "[axes]\nlayers = [2, -1]", "layers=-1"),
        (HEAD + "[axes]\nseed = [0, 1]", "write seeds = […] above all tables"),
        (HEAD + "[train]\nname = 'x'\n[axes]\nlayers = [1, 2]", "the matrix sets --name of train"),
        (HEAD + "[eval]\nrun = 'x'\n[axes]\nlayers = [1, 2]", "the matrix sets --run of eval"),
        (HEAD + "[stylize]\nlimit = 4\n[axes]\nlayers = [1, 2]", "sets --limit of stylize"),
        (HEAD + "vary = 'some'\n[axes]\nlayers = [1, 2]", 'takes "all" or "one"'),
        (HEAD + "seeds = 3\n[axes]\nlayers = [1, 2]", "write seeds as a list"),
        (HEAD + "seeds = [1, 1]\n[axes]\nlayers = [1, 2]", "write seeds as a list"),
        (HEAD + "axes = 3", "write [axes]"),
        (HEAD + "[rows]\nlayers = 3", "write each row as [rows.NAME]"),
        (HEAD + "[axes]\nlayers = [1, 2]\n[rows.x]\nlayers = 2", "'layers=2' and 'x' are the same"),
        (HEAD + "[axes]\nlayers = [1, 2]\n[rows.baseline]\nlayers = 3", "two rows are called"),
        (HEAD + "[axes\n", "is not valid TOML"),
        (HEAD + "[eval]\nmetric = 'kid'\n[axes]\nlayers = [1, 2]", "did you mean --metrics?"),
        (HEAD + "[eval]\nmetrics = ['kit']\n[axes]\nlayers = [1, 2]", "unknown metric 'kit'"),
        (HEAD + "[stylize]\nwher = 'x'\n[axes]\nlayers = [1, 2]", "did you mean --where?"),
        (HEAD + "[stylize]\nsteps = 'x'\n[axes]\nlayers = [1, 2]", "steps=x: takes a whole"),
    ],
)
def test_what_is_no_matrix_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    found = refusal(tmp_path, text)
    assert words in found
    assert str(tmp_path / "purify.toml") in found


def test_names_that_runs_cannot_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot name a matrix"):
        read(tmp_path, GRID, "a b")
    with pytest.raises(UserError, match="cannot read the config"):
        read_matrix(tmp_path / "absent.toml", None, resolved_flags, check_later_flags)


def test_the_matrix_of_the_readme_is_one(tmp_path: Path) -> None:
    readme = (Path(__file__).resolve().parents[3] / "README.md").read_text("utf-8")
    (block,) = re.findall(r"^```toml\n(# matrix.toml.*?)^```$", readme, re.M | re.S)
    matrix = read(tmp_path, block)
    assert (len(matrix.rows), matrix.seeds, matrix.config) == (16, (0, 1), "tiny")


def test_the_matrix_of_the_adapter_has_a_row_for_each_of_its_presets() -> None:
    folder = Path(__file__).resolve().parents[3] / "train" / "methods" / "style_adapter"
    matrix = read_matrix(folder / "ablation.toml", None, resolved_flags, check_later_flags)
    rows = [resolved_flags("style_adapter", "3090", row.flags).fields for row in matrix.rows]
    presets = ["3090", *(path.stem for path in (folder / "presets").glob("ablation-*.toml"))]
    assert len(presets) == len(rows) == 10
    for name in presets:
        assert resolved_flags("style_adapter", name, {}).fields in rows, name
