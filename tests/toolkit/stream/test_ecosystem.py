"""Inside what people use already: Accelerate, torchrun, torchdata. All real, in real processes."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torchdata.stateful_dataloader import StatefulDataLoader

from toolkit.store.layout import Layout
from toolkit.stream.raw import Samples

ROOT = Path(__file__).resolve().parents[3]

OPEN = """
import itertools, json, sys
from pathlib import Path
from toolkit.store.layout import Layout
from toolkit.store.selection import select
from toolkit.stream.loader import Loader
from toolkit.stream.ranks import rank_and_world

folder = Path(sys.argv[1])
layout = Layout(folder / "shards", folder / "manifests")

def open_loader(workers):
    rank, world = rank_and_world()
    cache = folder / f"selections-{rank}"
    found = [select(*names, "true", layout, cache)
             for names in (("main", "targets"), ("fill50k", "circles"))]
    return Loader(found, {"main": 3, "fill50k": 1}, 8, 32, 7, workers, rank=rank, world=world)

def seen(batch):
    return [[key, int(seed)] for key, seed in zip(batch.keys, batch.sample_seed)]
"""

ACCELERATE = (
    OPEN
    + """
from accelerate import Accelerator
from accelerate.utils import gather_object

accelerator = Accelerator(cpu=True)
loader = accelerator.prepare(open_loader(2))
accelerator.register_for_checkpointing(loader)
found = []
for batch in itertools.islice(loader, 5):
    found.append(gather_object(seen(batch)))
accelerator.save_state(folder / "checkpoint")
again = accelerator.prepare(open_loader(0))
for _ in itertools.islice(again, 2):
    pass
accelerator.wait_for_everyone()
other = Accelerator(cpu=True)
other.register_for_checkpointing(again)
other.load_state(folder / "checkpoint")
for batch in itertools.islice(again, 5):
    found.append(gather_object(seen(batch)))
if accelerator.is_main_process:
    (folder / "found.json").write_text(json.dumps(found))
"""
)

TORCHRUN = (
    OPEN
    + """
import torch.distributed as dist
loader = open_loader(1)  # before there is a group: by what torchrun says
dist.init_process_group("gloo")
found = []
for batch in itertools.islice(loader, 10):
    parts = [None] * dist.get_world_size()
    dist.all_gather_object(parts, seen(batch))
    found.append([pair for part in parts for pair in part])
if dist.get_rank() == 0:
    (folder / "found.json").write_text(json.dumps(found))
dist.destroy_process_group()
"""
)


@pytest.mark.parametrize(
    ("script", "launcher"),
    [
        pytest.param(
            ACCELERATE, ["accelerate.commands.launch", "--cpu", "--num_processes=2",
                         "--num_machines=1", "--main_process_port=0",
                         "--mixed_precision=no", "--dynamo_backend=no"], marks=pytest.mark.slow),
        (TORCHRUN, ["torch.distributed.run", "--standalone", "--nproc_per_node=3"]),
    ],
    ids=["accelerate", "torchrun"],
)  # fmt: skip
def test_ranks_of_a_launcher_read_one_stream(
    script: str, launcher: list[str], triplets: Layout, opened: Any, tmp_path: Path
) -> None:
    """Ten global batches of eight; under Accelerate half of them after `load_state`."""
    folder, program = triplets.shards.parent, tmp_path / "program.py"
    program.write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", *launcher, str(program), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((folder / "found.json").read_text())
    expected = [
        [[key, int(seed)] for key, seed in zip(batch.keys, batch.sample_seed, strict=True)]
        for batch in itertools.islice(opened(batch_size=8), 10)
    ]
    assert found == expected


def test_a_stream_that_is_left_open_does_not_keep_a_program_alive(
    triplets: Layout, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import atexit, threading\n"
        "atexit.register(lambda: print([t.name for t in threading.enumerate()]))\n"  # the last one
        + OPEN
        + "stream = iter(open_loader(3))\nprint(len(next(stream)))\n"
    )
    done = subprocess.run(
        [sys.executable, str(program), str(triplets.shards.parent)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "8\n['MainThread']\n", "")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_dataloader_resumes_it(choose: Any, workers: int) -> None:
    mix = {"main": 3, "fill50k": 1}

    def loader() -> StatefulDataLoader[Any]:
        samples = Samples([choose(name) for name in mix], mix, 7, stop=60)
        return StatefulDataLoader(samples, batch_size=None, num_workers=workers)

    whole = [sample["__key__"] for sample in loader()]
    assert len(whole) == 60
    first = loader()
    keys = [sample["__key__"] for sample in itertools.islice(first, 23)]
    resumed = loader()
    resumed.load_state_dict(first.state_dict())
    assert keys + [sample["__key__"] for sample in resumed] == whole
