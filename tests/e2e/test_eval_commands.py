"""The evaluator's commands, each in a process of its own, on pictures that no run made."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
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


@pytest.mark.slow
def test_killed_it_goes_on_and_ends_with_the_same_numbers(tmp_path: Path, run_command: Any) -> None:
    """Three kills while Inception looks; what was looked at is not looked at again."""
    for n in range(60):
        save(tmp_path / "styles" / "Cubism" / f"s{n % 6}.png", picture(500 + n % 6))
        save(tmp_path / "out" / f"c{n:02}_s{n % 6}.png", picture(n))
        save(tmp_path / "contents" / f"c{n:02}.png", picture(900 + n))
    weights = EXTRACTORS["inception"](tmp_path / "weights")
    words = ["--folder=out", "--contents=contents", "--styles=styles", "--metrics=fid,kid",
             f"--weights=inception:{weights}"]  # fmt: skip
    store = tmp_path / "manifests" / ".features" / "features.sqlite"
    seen = [0]
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "eval.run", *words], cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        while (there := looked_at(store)) <= seen[-1]:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.communicate()
        seen.append(there)
    assert seen == sorted(set(seen))
    done = run_command("eval.run", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "runs" / "out" / "scores" / "summary.json").read_text())
    store.unlink()
    assert run_command("eval.run", *words, cwd=tmp_path).returncode == 0
    straight = json.loads((tmp_path / "runs" / "out" / "scores" / "summary.json").read_text())
    assert found == straight


def looked_at(store: Path) -> int:
    """Pictures whose features are written."""
    if not store.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as con:
            return int(con.execute("SELECT count(*) FROM features").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
