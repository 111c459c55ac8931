"""Forty kills at random moments of a pack: each time it goes on to the same bytes.

The data are as hard as they come: COCO pictures with two annotation files, clashing names, broken
files among the good ones, two processes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.store.layout import Layout

pytestmark = pytest.mark.slow
KILLS = 40
NUM_PICTURES = 300


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, encode: Any, make_picture: Any) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for part in ("train2017", "val2017"):
        (folder / part).mkdir()
    images, captions = [], []
    for number in range(NUM_PICTURES):
        part = "val2017" if number % 5 == 0 else "train2017"
        data = encode(make_picture(number, 256, 192))
        if number % 17 == 3:
            data = data[: len(data) // 2]
        if number % 23 == 4:
            data = b"no picture"
        (folder / part / f"{number:012d}.jpg").write_bytes(data)
        images.append({"id": number, "file_name": f"{number:012d}.jpg"})
        captions.append({"id": number, "image_id": number, "caption": f"picture {number}"})
    (folder / "val2017" / f"{1:012d}.jpg").write_bytes(encode(make_picture(9999)))  # a clash
    (folder / "annotations").mkdir()
    for name, half in (("captions_a", captions[::2]), ("captions_b", captions[1::2])):
        tree = {"images": images, "annotations": half}
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(tree))
    return folder


def command(raw: Path, layout: Layout) -> list[str]:
    return [sys.executable, "-m", "toolkit.pack", "coco", f"--src={raw}", "--name=coco",
            "--jobs=2", "--samples_per_shard=20", f"--shards={layout.shards}",
            f"--manifests={layout.manifests}"]  # fmt: skip


def pack(raw: Path, layout: Layout) -> None:
    done = subprocess.run(command(raw, layout), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def wait_for(packing: subprocess.Popen[bytes], layout: Layout, num_shards: int) -> None:
    while packing.poll() is None and len(layout.manifests_of("coco")) < num_shards:
        time.sleep(0.001)


def visible(found: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in found.items() if "/." not in name}


@pytest.mark.timeout(1800)
def test_killed_and_resumed_forty_times(
    raw: Path, tmp_path: Path, digests: Callable[[Layout], dict[str, str]]
) -> None:
    whole = Layout(tmp_path / "whole" / "s", tmp_path / "whole" / "m")
    start = time.monotonic()
    pack(raw, whole)
    lasted = time.monotonic() - start
    expected = visible(digests(whole))
    assert sum(name.endswith(".tar") for name in expected) == 16
    rng = np.random.Generator(np.random.Philox(7))
    stages = set()
    for number in range(KILLS):
        layout = Layout(tmp_path / str(number) / "s", tmp_path / str(number) / "m")
        packing = subprocess.Popen(
            command(raw, layout), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        if number % 4 == 0:
            time.sleep(rng.uniform(0.2, 1.0) * lasted)
        else:  # most of the time goes into starting, so what is finished says when
            wait_for(packing, layout, int(rng.integers(16)))
            time.sleep(rng.uniform(0, 0.02))
        if number % 2:
            os.killpg(packing.pid, signal.SIGKILL)  # as when the machine loses power
        else:
            packing.kill()
        packing.wait()
        stages.add(len(layout.manifests_of("coco")))
        pack(raw, layout)
        assert visible(digests(layout)) == expected, f"kill {number}"
        checked = subprocess.run(
            [sys.executable, "-m", "toolkit.verify", f"--shards={layout.shards}",
             f"--manifests={layout.manifests}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout
    assert len(stages) >= 5, f"the kills fell on {sorted(stages)} finished shards only"
