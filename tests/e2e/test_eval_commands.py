"""The evaluator's commands, each in a process of its own, on pictures that no run made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.eval.pictures import disturbed, picture
from tests.twins import EXTRACTORS


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Contents, styles with held-out pictures, and what two programs made of them."""
    root = tmp_path_factory.mktemp("work")
    for n in range(3):
        save(root / "contents" / f"c{n}.png", picture(n))
    for style, start in (("Cubism", 50), ("Fauvism", 60)):
        for n in range(8):
            save(root / "styles" / style / f"{style[0]}{n}.png", picture(start + n) // 2 + start)
            split = "val" if n > 5 else "train"
            (root / "styles" / style / f"{style[0]}{n}.json").write_text(f'{{"split": "{split}"}}')
        for n in range(3):
            blend = picture(n) // 2 + picture(start) // 2
            save(root / "one" / f"c{n}_{style[0]}0.png", blend)
            save(root / "two" / f"c{n}_{style[0]}0.png", disturbed(blend, 90))
            save(root / "gen" / style / f"Cat{n}.png", blend)
    return root


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_two_programs_are_scored_compared_and_ranked(work: Path, run_command: Any) -> None:
    metrics = "--metrics=edge_structure,colour_histogram,colour_distance"
    for folder in ("one", "two"):
        done = run_command(
            "eval.run", f"--folder={folder}", "--contents=contents", "--styles=styles", metrics,
            cwd=work,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "next: python -m eval.report --name=" in done.stdout
    done = run_command("eval.report", "--name=two", cwd=work)
    assert done.returncode == 0, done.stderr
    assert (work / "runs" / "two" / "report.html").is_file()
    done = run_command("eval.compare", "one", "two", cwd=work)
    assert (done.returncode, done.stderr) == (0, "")
    assert "edge_structure" in done.stdout
    assert "worse" in done.stdout
    done = run_command("eval.leaderboard", "--by=edge_structure", "--format=json", cwd=work)
    assert [row["name"] for row in json.loads(done.stdout)] == ["one", "two"]


@pytest.mark.slow
def test_a_probe_is_trained_and_a_competition_judged(work: Path, run_command: Any) -> None:
    names = ("dinov2", "lpips_squeeze", "inception", "clip_iqa", "clip_large")
    places = {name: EXTRACTORS[name](work / "weights" / name) for name in names}
    done = run_command(
        "eval.run", "--folder=one", "--contents=contents", "--styles=styles", "--limit=1", cwd=work
    )
    assert done.returncode == 0, done.stderr
    where = "--where=dataset='styles'"
    done = run_command("eval.probe", where, f"--weights=dinov2:{places['dinov2']}", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "2 styles, probe" in done.stdout
    weights = ",".join(f"{name}:{place}" for name, place in places.items())
    done = run_command(
        "eval.score", "--folder=gen", "--references=styles", f"--weights={weights}", cwd=work
    )
    assert done.returncode == 0, done.stderr
    assert "official, fid_last" in done.stdout
    assert (work / "score.txt").read_text().count("\n") > 10
