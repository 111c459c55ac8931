"""The competition's final score: published finals come back, and the command says them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from eval.competition import Terms, final
from eval.score import main
from toolkit.core.errors import UserError

BEST = Terms(0.120226, 0.779055, 1.674596, 0.428658, 0.757711, 0.930667)
FLAGS = [f"--{name}={value}" for name, value in dataclasses.asdict(BEST).items()]


@pytest.mark.parametrize(
    ("terms", "published", "tolerance"),
    [
        (BEST, 0.512078, 2e-6),
        (Terms(0.164997, 0.829148, 2.119416, 0.409496, 0.758036, 0.810667), 0.503971, 2e-6),
        # four digits of each term were published
        (Terms(0.1318, 0.7977, 1.5406, 0.4342, 0.7273, 0.9067), 0.5119, 5e-5),
        (Terms(0.1130, 0.4388, 1.7101, 0.5391, 0.7567, 0.8293), 0.3274, 5e-5),
        (Terms(0.2125, 0.747, 2.813, 0.3939, 0.7451, 0.62), 0.4251, 5e-5),
        (Terms(0.1916, 0.73, 3.8127, 0.4113, 0.7579, 0.7629), 0.4419, 5e-5),
        (Terms(0.1762, 0.6811, 3.1457, 0.4223, 0.7471, 0.8457), 0.4497, 5e-5),
        (Terms(0.1737, 0.7144, 3.272, 0.4154, 0.7463, 0.8586), 0.4648, 5e-5),
    ],
)
def test_published_finals_come_back(terms: Terms, published: float, tolerance: float) -> None:
    assert final(terms).score == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize("name", ["dino", "hist", "clip_iqa", "clip_r"])
def test_more_of_what_counts_is_more(name: str) -> None:
    better = dataclasses.replace(BEST, **{name: getattr(BEST, name) + 0.01})
    assert final(better).score > final(BEST).score


@pytest.mark.parametrize(("name", "worst"), [("fid", 20.0), ("lpips", 1.0)])
def test_a_distance_costs_up_to_its_worst(name: str, worst: float) -> None:
    def at(value: float) -> float:
        return final(dataclasses.replace(BEST, **{name: value})).score

    assert at(0) > at(worst / 2) > at(worst) == at(worst * 5)


def test_the_command_says_the_parts_and_writes_them(run_command: Any, tmp_path: Path) -> None:
    done = run_command("eval.score", *FLAGS, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = "style 0.5642\ntext 0.4653\nquality 0.4423\nfinal 0.51208\n"
    assert done.stdout == f"{lines}written: score.txt\n"
    assert (tmp_path / "score.txt").read_text("utf-8") == lines


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--lpips=-0.1", "--lpips=-0.1: takes a number from 0"),
        ("--clip_r=93", "--clip_r=93.0: takes a number from 0 to 1"),
        ("--dino=nan", "--dino=nan: takes a number from -1 to 1"),
        ("--fid=many", "--fid=many"),
    ],
)
def test_what_no_term_can_be_is_one_line(
    flag: str, says: str, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = flag.partition("=")[0]
    done = call(main, *(f for f in FLAGS if not f.startswith(f"{name}=")), flag)
    assert says in done.refusal()
    assert not list(tmp_path.iterdir())


def test_terms_know_their_ranges() -> None:
    with pytest.raises(UserError, match="--hist=2: takes a number from -1 to 1"):
        dataclasses.replace(BEST, hist=2)
