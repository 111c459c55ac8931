"""The plan command: what a stream costs, for several blocks, before it runs."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from toolkit.plan import main
from toolkit.store.layout import Layout

MIX = ("--mix=main:3,circles:1", "--main=targets", "--batch_size=8")


def test_the_real_command(run_command: Any, triplets: Layout) -> None:
    done = run_command(
        "toolkit.plan", "style='Cubism'", *MIX, "--block=1,4", cwd=triplets.shards.parent
    )
    assert done.returncode == 0, done.stderr
    head, _, *rows = done.stdout.split("\n\n")[0].splitlines()
    assert head.split() == [
        "block", "requests_per_batch", "kilobytes_per_request", "megabytes_per_batch", "used",
        "tars_per_batch", "shuffle",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == ["1", "4"]
    main_line, circles, total = done.stdout.split("\n\n")[1].splitlines()
    assert re.match(
        r"main: 7 samples, [\d.]+ MB of pictures in \d tars, .* 1\.2 batches", main_line
    )
    assert re.match(r"circles: 7 samples, .* an epoch in 3\.5 batches", circles)
    assert re.search(r"MB in all: they stay in memory after the first epoch", total)


def test_shared_pictures_count_once(
    call: Callable[..., Any], triplets: Layout, choose_bytes: Callable[..., int]
) -> None:
    code, out, _ = call(main, *MIX, triplets)
    assert code == 0
    size = float(re.search(r"main: 13 samples, ([\d.]+) MB", out)[1])  # type: ignore[index]
    # 13 targets, but 6 contents and 4 styles however many targets they serve
    assert size == pytest.approx(choose_bytes("targets", "photos", "paintings") / 1e6, abs=0.06)


@pytest.fixture
def choose_bytes(triplets: Layout) -> Callable[..., int]:
    from toolkit.store.manifest import read_manifest

    def start(*datasets: str) -> int:
        return sum(
            row["members"][0]["size"]
            for dataset in datasets
            for path in triplets.manifests_of(dataset)
            for row in read_manifest(path)
        )

    return start


def test_json_is_a_list(call: Callable[..., Any], triplets: Layout) -> None:
    code, out, err = call(main, *MIX, "--format=json", "--block=2", triplets)
    assert code == 0
    assert "MB in all" in err  # beside the data
    (row,) = json.loads(out)
    assert row["block"] == 2
    assert row["requests_per_batch"] > 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--mix=main:0",), "write names with whole numbers from 1"),
        (("--mix=nothing:1",), "nothing is no dataset"),
        ((*MIX, "--block=0"), "takes 1 or more"),
        (("--mix=main:1", "--main=targets", "--batch_size=0"), "takes 1 or more"),
        ((*MIX, "--roles=face"), "there is no role 'face': roles are target, content, style"),
        ((*MIX, "--split=val"), "selects no sample of targets where"),
        (("style = 'Rococo'", *MIX), "selects no sample of targets where style = 'Rococo'"),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    args: tuple[str, ...], message: str, call: Callable[..., Any], triplets: Layout
) -> None:
    code, _, err = call(main, *args, triplets)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
