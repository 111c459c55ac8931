"""Which runs a matrix has, in which order."""

import os
from pathlib import Path

from eval.ablation_runs import jobs_of
from toolkit.core.matrix import Matrix, Row
from toolkit.core.run_jobs import Places, State


def test_jobs_go_through_all_rows_before_the_next_seed() -> None:
    rows = tuple(Row(name, {"steps": steps}, {}) for name, steps in (("a", "1"), ("b", "2")))
    matrix = Matrix("m", "style_adapter", "smoke", (5, 6), rows, {}, {"metrics": "fid,kid"})
    found = jobs_of(matrix, Places(Path("runs"), Path("s"), Path("m")))
    assert [job.label for job in found] == ["a, seed 5", "b, seed 5", "a, seed 6", "b, seed 6"]
    assert found[3].commands["train"][2:] == [
        "style_adapter", "--config=smoke", "--name=m-b-s6", "--runs=runs", "--shards=s",
        "--manifests=m", "--seed=6", "--steps=2",
    ]  # fmt: skip
    assert found[0].commands["eval"][2:] == [
        "--run=runs/m-a-s5", "--shards=s", "--manifests=m", "--metrics=fid,kid",
    ]  # fmt: skip
    assert State() == found[0].state()
    assert not os.path.exists("runs/m")
