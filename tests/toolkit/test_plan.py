"""The plan command: what a stream costs, for several blocks, before it runs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encoded, picture
from toolkit.packing.dataset import pack
from toolkit.plan import main
from toolkit.sources.folder import Folder
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


def test_shapes_of_batches(call: Callable[..., Any], tmp_path: Path) -> None:
    """Pictures of 40 × 24 and 24 × 40 pixels, five and two, and one that is too small."""
    (tmp_path / "in").mkdir()
    for number, (width, height) in enumerate([(40, 24)] * 5 + [(24, 40)] * 2 + [(16, 16)]):
        data = encoded(picture(number, width, height), "PNG")
        (tmp_path / "in" / f"{number}.png").write_bytes(data)
    layout = Layout(tmp_path / "s", tmp_path / "m")
    pack(Folder(tmp_path / "in"), "mixed", layout, samples_per_shard=8)
    flags = ("--mix=main:1", "--main=mixed", "--batch_size=3", "--buckets=8,32,24")
    code, out, _ = call(main, *flags, layout)
    assert code == 0
    assert "shapes of main: 40×24 (5), 24×40 (2); 1 samples are too small" in out
    assert "an epoch in 3.0 batches" in out
    assert "takes multiple,size,least" in call(main, *flags[:3], "--buckets=8", layout)[2]


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
