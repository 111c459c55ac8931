"""Galleries of the sample data by the real command, in a real browser."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.many_manifests import write_dataset
from tests.conftest import ROOT, RunCommand
from toolkit.store.layout import Layout

ROWS = 1_000_000


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Any]:
    """`serving(layout, "true")`: the process of a viewer, and its address."""
    processes: list[subprocess.Popen[str]] = []

    def start(layout: Layout, where: str, *flags: str) -> tuple[subprocess.Popen[str], str]:
        temporary = tmp_path / "temporary"
        temporary.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "toolkit.inspect", "gallery", where, "--serve", "--port=0",
             f"--shards={layout.shards}", f"--manifests={layout.manifests}", *flags],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        )  # fmt: skip
        processes.append(process)
        assert process.stdout
        line = process.stdout.readline()
        return process, line.split(" at ")[1].split()[0]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def shown(page: Any) -> list[str]:
    """The keys of the page, once its pictures in sight are there."""
    page.wait_for_selector("body[aria-busy=false]")
    page.wait_for_function(
        "() => [...document.querySelectorAll('img[src]')].every(i => i.complete && i.naturalWidth)"
    )
    return page.eval_on_selector_all(".card b", "nodes => nodes.map(n => n.textContent)")


def test_a_gallery_in_one_file(
    sample_data: Layout, run_command: RunCommand, tmp_path: Path, page: Any
) -> None:
    out, where = tmp_path / "cubism.html", "dataset='teacher' and style='Cubism'"
    done = run_command(
        "toolkit.inspect", "gallery", where, f"--out={out}", "--order_by=key desc", "--limit=20",
        f"--shards={sample_data.shards}", f"--manifests={sample_data.manifests}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page.goto(out.as_uri())
    keys = shown(page)
    assert (len(keys), keys) == (20, sorted(keys, reverse=True))
    assert "more are not in this file" in page.inner_text("#count")
    assert page.inner_text("h1") == where
    assert page.locator(".card:first-child img").count() == 3


@pytest.mark.parametrize(
    ("ending", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_a_viewer_serves_and_leaves_nothing_behind(
    sample_data: Layout, serving: Any, page: Any, tmp_path: Path, ending: int, code: int
) -> None:
    process, address = serving(sample_data, "true")
    page.goto(f"{address}#search=ukiyo+cat&order=key")
    keys = shown(page)
    assert keys
    assert keys == sorted(keys)
    assert list((tmp_path / "temporary").iterdir())
    process.send_signal(ending)
    assert process.wait(20) == code
    assert not list((tmp_path / "temporary").iterdir())


def test_a_port_that_is_taken_is_one_line(
    sample_data: Layout, serving: Any, run_command: RunCommand
) -> None:
    _, address = serving(sample_data, "dataset='content'")
    port = address.strip("/").rpartition(":")[2]
    done = run_command(
        "toolkit.inspect", "gallery", "--serve", f"--port={port}",
        f"--shards={sample_data.shards}", f"--manifests={sample_data.manifests}",
    )  # fmt: skip
    assert done.returncode == 2
    assert f"--port={port} cannot be listened on" in done.stderr


@pytest.mark.slow
def test_a_million_rows(serving: Any, page: Any, tmp_path: Path) -> None:
    """Filter, sort, open a sample, the next page and the last one, as with a few."""
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    write_dataset(layout, "style", 20_000, 10_000)
    write_dataset(layout, "main", ROWS, 10_000, {"style": 20_000})
    _, address = serving(layout, "dataset='main'")
    page.goto(address)
    assert shown(page)[0] == "000000000"
    assert page.inner_text("#count") == "1–60 of 1,000,000 samples"
    page.click("#next")
    page.wait_for_function("() => document.getElementById('page').value === '2'")
    assert shown(page) == [f"{n:09d}" for n in range(60, 120)]
    page.select_option("#order", "artist")
    page.wait_for_function("() => location.hash.includes('artist')")
    assert shown(page)[:3] == ["000000000", "000001000", "000002000"]  # of 1,000 artists
    page.click("#last")
    page.wait_for_function("() => document.getElementById('next').disabled")
    assert shown(page)[-1] == "000999999"
    page.click("#add")
    page.select_option(".filter select >> nth=0", "style")
    page.fill(".filter input", "style 5")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('filters')")
    shown(page)
    matching = len(range(5, ROWS, 27))
    assert page.inner_text("#count") == f"1–60 of {matching:,} samples"
    page.click(".card:nth-child(2)")
    page.wait_for_selector("#sample[open]")
    assert page.locator("#large img").count() == 2
