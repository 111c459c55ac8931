"""Packing JPEG files unchanged, against the limit and against peers.

    python -m bench.pack [--files=16000] [--rounds=5] [--folder=/tmp/tessera-bench]

* `limit`: two processes that only read and decode the same files.
* `ShardWriter`: webdataset's writer in one process, copying the files without looking at them.
* `img2dataset`: its job on the same files, served by this machine: as it comes, which decodes,
  resizes to 256 pixels and encodes; and with `disable_all_reencoding`, which decodes nothing.

All are timed as whole processes, start-up included.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process
from pathlib import Path
from typing import Any

import fire

from bench.pictures import write_jpegs
from bench.timing import machine, pairs, summary, wall_s, write_results

LIMIT = """
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import simplejpeg

def decode(paths):
    for path in paths:
        simplejpeg.decode_jpeg(Path(path).read_bytes())

if __name__ == "__main__":
    files = sorted(map(str, Path(sys.argv[1]).rglob("*.jpg")))
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(decode, [files[i:i + 200] for i in range(0, len(files), 200)]))
"""

SHARD_WRITER = """
import sys
from pathlib import Path
import webdataset

with webdataset.ShardWriter(f"{sys.argv[2]}/%06d.tar", maxcount=1000, verbose=0) as sink:
    for path in sorted(Path(sys.argv[1]).rglob("*.jpg")):
        sink.write({"__key__": path.stem, "jpg": path.read_bytes()})
"""

IMG2DATASET = """
import sys
from img2dataset import download

if __name__ == "__main__":
    download(url_list=sys.argv[1], output_folder=sys.argv[2], output_format="webdataset",
             processes_count=2, thread_count=32, number_sample_per_shard=1000,
             disable_all_reencoding=len(sys.argv) > 3, compute_hash="sha256", enable_wandb=False)
"""

Run = Callable[[], float]


def main(files: int = 16000, rounds: int = 5, folder: str = "/tmp/tessera-bench") -> None:
    """Measures and keeps bench/results/pack.json."""
    root = Path(folder)
    pictures = write_jpegs(root / "jpegs" / str(files), files)
    about = {**machine(), "files": files, "picture": "JPEG 512×512, quality 90, 4:2:0"}
    rows = [
        summary(
            "full check / limit", pairs(_ours(root, pictures), _limit(pictures), rounds), files
        ),
        summary(
            "headers / webdataset ShardWriter",
            pairs(_ours(root, pictures, "--check=headers"), _writer(root, pictures), rounds),
            files,
        ),
        *_against_img2dataset(root, pictures, files, rounds),
    ]
    write_results("pack", about, rows)


def _ours(root: Path, pictures: Path, *flags: str) -> Run:
    out = root / "ours"
    command = [sys.executable, "-m", "toolkit.pack", "folder", f"--src={pictures}", "--name=jpegs",
               f"--shards={out / 's'}", f"--manifests={out / 'm'}", "--jobs=2", *flags]  # fmt: skip
    return partial(_fresh, out, command)


def _limit(pictures: Path) -> Run:
    return partial(wall_s, [sys.executable, "-c", LIMIT, str(pictures)])


def _writer(root: Path, pictures: Path) -> Run:
    out = root / "writer"
    return partial(_fresh, out, [sys.executable, "-c", SHARD_WRITER, str(pictures), str(out)])


def _fresh(out: Path, command: list[str]) -> float:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    return wall_s(command)


def _against_img2dataset(
    root: Path, pictures: Path, files: int, rounds: int
) -> Iterator[dict[str, Any]]:
    peer = Path(".venv-peers/bin/python")
    if not peer.exists():
        yield {"name": "full check / img2dataset", "missing": "see bench/README.md"}
        return
    server = Process(target=_serve, args=(pictures,), daemon=True)
    server.start()
    urls = root / "urls.txt"
    paths = sorted(path.relative_to(pictures) for path in pictures.rglob("*.jpg"))
    urls.write_text("".join(f"http://127.0.0.1:8765/{path}\n" for path in paths))
    out = root / "img2dataset"
    whole = [str(peer), "-c", IMG2DATASET, str(urls), str(out)]
    contests: tuple[tuple[str, list[str], list[str]], ...] = (
        ("full check / img2dataset", [], whole),
        ("full check / img2dataset that decodes nothing", [], [*whole, "untouched"]),
        ("headers / img2dataset that decodes nothing", ["--check=headers"], [*whole, "untouched"]),
    )
    try:
        for name, flags, command in contests:
            theirs = partial(_fresh, out, command)
            yield summary(name, pairs(_ours(root, pictures, *flags), theirs, rounds), files)
            stored = sum(json.loads(p.read_text())["successes"] for p in out.glob("*_stats.json"))
            if stored != files:
                raise RuntimeError(f"img2dataset stored {stored} of {files} pictures")
    finally:
        server.terminate()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256  # with Python's own 5, clients wait for connections to be repeated

    def handle_error(self, *_: Any) -> None:
        pass  # a client that went away; what it has not stored is counted


def _serve(folder: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

    _Server(("127.0.0.1", 8765), partial(Quiet, directory=folder)).serve_forever()


if __name__ == "__main__":
    fire.Fire(main)
