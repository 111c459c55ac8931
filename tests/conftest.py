"""Packed data for the tests, small and real, and a way to run commands.

`tiny_layout` is enough for nearly everything; `sample_data` costs half a minute, once per test
run, and is for what needs the real thing. Both are real packs made by the product's own code.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.browser import chromium
from tests.fork_server import fork_server
from toolkit.core.command import run
from toolkit.core.records import Link, Record, Ref
from toolkit.packing.dataset import pack
from toolkit.sources.folder import open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest, write_manifest
from toolkit.store.samples import SampleReader

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
CLASSES = ("cubism", "sketch", "ukiyo")
PICTURES_PER_CLASS = 4
TINY_PER_SHARD = 4

RunCommand = Callable[..., subprocess.CompletedProcess[str]]
Call = Callable[..., "Outcome"]


class Outcome(NamedTuple):
    """What a command left: its exit code and its two texts."""

    code: int
    out: str
    err: str

    def refusal(self) -> str:
        """The one line of a refusal; the test fails when it was none."""
        assert (self.code, self.out) == (2, "")
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1
        return self.err


def picture(seed: int, width: int = 48, height: int = 48) -> np.ndarray:
    """A smooth random picture: uint8 [height,width,3], compressible and never of one colour."""
    rng = np.random.Generator(np.random.Philox(seed))
    coarse = Image.fromarray(rng.integers(0, 256, size=(5, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray, form: str = "JPEG", **options: Any) -> bytes:
    """The pixels as a file of a Pillow format; JPEG in quality 90 unless told otherwise."""
    buffer = io.BytesIO()
    if form == "JPEG":
        options = {"quality": 90, **options}
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def write_tiny_pictures(folder: Path) -> Path:
    """Twelve pictures in three class folders with captions beside them; every fourth is a PNG."""
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(PICTURES_PER_CLASS):
            width, height = 48 + 16 * index, 48 + 8 * number
            pixels = picture(10 * number + index, width, height)
            form, ext = ("PNG", "png") if index == 3 else ("JPEG", "jpg")
            (folder / name / f"p{index}.{ext}").write_bytes(encoded(pixels, form))
            lines = f"picture {index} of {name}\nanother caption\n"
            (folder / name / f"p{index}.txt").write_text(lines, "utf-8")
        facts = {"artist": f"painter of {name}", "split": "val", "year": 1900 + number}
        (folder / name / "p0.json").write_text(json.dumps(facts), "utf-8")
    return folder


@dataclass(frozen=True)
class ToySource:
    """Records given in memory: real bytes through the real packer without files or painters.

    name: what the dataset's card says; records: source id to what `read` returns or raises; keys:
    source id to the key that the source wants.
    """

    name: str
    records: Mapping[str, Record | Exception] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        for source_id in self.records:
            yield Ref(source_id, key=self.keys.get(source_id, ""))

    def read(self, ref: Ref) -> Record:
        found = self.records[ref.source_id]
        if isinstance(found, Exception):
            raise found
        return found

    def describe(self) -> dict[str, Any]:
        return {"kind": "toy", "name": self.name}


@pytest.fixture(scope="session")
def toy_source() -> type[ToySource]:
    """A source whose records are given in memory."""
    return ToySource


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., np.ndarray]:
    """`picture(seed, width, height)`."""
    return picture


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """`encoded(pixels, form, **options of Pillow's save)`."""
    return encoded


@pytest.fixture(scope="session")
def _tiny_origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    raw = write_tiny_pictures(folder / "pictures")
    layout = Layout(folder / "shards", folder / "manifests")
    pack(open_source(raw), "tiny", layout, TINY_PER_SHARD)
    return folder


@pytest.fixture(scope="session")
def tiny_readonly(_tiny_origin: Path) -> Layout:
    """What `tiny_layout` is copied from, for tests that only read."""
    return Layout(_tiny_origin / "shards", _tiny_origin / "manifests")


@pytest.fixture
def tiny_pictures(_tiny_origin: Path, tmp_path: Path) -> Path:
    """The folder of twelve pictures that `tiny_layout` was packed from; a copy, free to change."""
    return Path(shutil.copytree(_tiny_origin / "pictures", tmp_path / "pictures"))


@pytest.fixture
def tiny_layout(_tiny_origin: Path, tmp_path: Path) -> Layout:
    """The dataset `tiny`: twelve pictures of three classes in three shards; a copy, free to
    change."""
    for name in ("shards", "manifests"):
        shutil.copytree(_tiny_origin / name, tmp_path / name)
    return Layout(tmp_path / "shards", tmp_path / "manifests")


@pytest.fixture(scope="session")
def _triplets_origin(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    folder = tmp_path_factory.mktemp("triplets")
    layout = Layout(folder / "shards", folder / "manifests")
    for source in triplet_sources():
        pack(source, source.name, layout, 5)
    return layout


def triplet_sources() -> list[ToySource]:
    """photos (6), paintings (4 of two styles), targets (13, each linked to both), circles (7)."""
    photos = {
        f"photo{i}": Record({"jpg": encoded(picture(100 + i))}, captions=(f"photo {i}",))
        for i in range(6)
    }
    paintings = {
        f"painting{i}": Record(
            {"jpg": encoded(picture(200 + i, 64, 48))}, style=("Cubism", "Ukiyo_e")[i % 2]
        )
        for i in range(4)
    }
    targets = {
        f"target{i:02d}": Record(
            {"jpg": encoded(picture(300 + i))},
            captions=(f"photo {i % 6}",),
            style=("Cubism", "Ukiyo_e")[i % 2],
            links=(Link("content", "photos", f"photo{i % 6}"),
                   Link("style", "paintings", f"painting{i % 4}")),
        )
        for i in range(13)
    }  # fmt: skip
    circles = {
        f"circle{i}": Record(
            {"target.png": encoded(picture(400 + i), "PNG"),
             "source.png": encoded(picture(500 + i), "PNG")},
            captions=(f"circle {i}",),
        )
        for i in range(7)
    }  # fmt: skip
    parts = {"photos": photos, "paintings": paintings, "targets": targets, "circles": circles}
    return [ToySource(name, records) for name, records in parts.items()]


@pytest.fixture
def triplets(_triplets_origin: Layout, tmp_path: Path) -> Layout:
    """Four linked datasets of small pictures: photos, paintings, targets, circles; a copy."""
    return copied(_triplets_origin, tmp_path / "triplets")


def copied(layout: Layout, folder: Path) -> Layout:
    """A copy of packed data below a folder."""
    for name in ("shards", "manifests"):
        shutil.copytree(getattr(layout, name), folder / name)
    return Layout(folder / "shards", folder / "manifests")


@pytest.fixture
def spoil() -> Callable[..., None]:
    """`spoil(layout, "photos", "photo0")` overwrites a picture inside its tar. as_packed: the
    manifest says that it was packed like that, as `--check=headers` lets happen; otherwise it is
    bit rot."""

    def start(layout: Layout, dataset: str, key: str, as_packed: bool = True) -> None:
        shard = SampleReader(layout, dataset).row(key)["shard"]
        manifest = layout.manifest_named(dataset, shard)
        rows = read_manifest(manifest)
        member = next(row for row in rows if row["key"] == key)["members"][0]
        with open(layout.tar_named(dataset, shard), "r+b") as file:
            file.seek(member["offset"])
            data = bytearray(file.read(member["size"]))
            first, last = len(data) // 4, len(data) * 3 // 4
            data[first:last] = bytes(last - first)
            file.seek(member["offset"])
            file.write(data)
        if as_packed:
            member["sha256"] = hashlib.sha256(data).hexdigest()
            write_manifest(manifest, rows, "f", "00")

    return start


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser, without a window; skips where there is none."""
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty tab; the test fails where a script of its pages does."""
    tab = browser.new_page(viewport={"width": 1200, "height": 800})
    tab.set_default_timeout(20_000)
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    yield tab
    tab.close()
    assert not problems


@pytest.fixture(scope="session")
def run_command() -> RunCommand:
    """`run_command("toolkit.query", "--count", cwd=…, env=…)`: a command in a process of its own.

    Returns the finished process with its texts; the exit code is the caller's to check.
    """

    def start(
        module: str, *args: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        if env is None:
            return fork_server().run(module, [*map(str, args)], cwd)
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, args)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            capture_output=True,
            text=True,
            check=False,
        )

    return start


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call(main, "--flag", layout)`: a command in this process, for what needs none of its own.

    A layout among the arguments stands for its two flags.
    """

    def start(command: Any, *args: str | Layout, fields: Any = None) -> Outcome:
        words = [word for arg in args for word in words_of(arg)]
        capsys.readouterr()
        code = 0
        try:
            run(command, "prog", words, fields)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Outcome(code, *capsys.readouterr())

    return start


def words_of(arg: str | Layout) -> list[str]:
    if isinstance(arg, Layout):
        return [f"--shards={arg.shards}", f"--manifests={arg.manifests}"]
    return [arg]


def digests_of(layout: Layout) -> dict[str, str]:
    """sha256 of every file of a layout by its place in it, temporary ones included; without the
    notes on when inputs were changed, which depend on the time, and compiled selections, which
    reading leaves behind."""
    return {
        f"{name}/{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for name, folder in (("shards", layout.shards), ("manifests", layout.manifests))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name not in (".inputs", ".selections")
    }


@pytest.fixture(scope="session")
def digests() -> Callable[[Layout], dict[str, str]]:
    """`digests(layout)`: sha256 of every file by its place, to compare two packs."""
    return digests_of


@contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Layout, bool]]:
    """A layout of data that all worker processes of a test run share, and whether it has to be
    made, which then happens before the block ends."""
    base = factory.getbasetemp()
    # The workers of pytest-xdist have a folder each inside the one of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Layout(folder / "shards", folder / "manifests"), not (folder / "done").exists()
        (folder / "done").touch()


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory: pytest.TempPathFactory, run_command: RunCommand) -> Layout:
    """The built-in sample data, packed once per test run by the real command. Do not change it."""
    with made_once(tmp_path_factory, "sample-data") as (layout, to_make):
        if to_make:
            flags = (*words_of(layout), "--jobs=2")  # who waits for it leaves a core free
            packed = run_command("toolkit.pack", *flags)
            assert packed.returncode == 0, packed.stderr
    return layout


@pytest.fixture(scope="session")
def encoded_data(
    sample_data: Layout, tmp_path_factory: pytest.TempPathFactory, run_command: RunCommand
) -> Layout:
    """The sample data with the sidecar `latents` of content and wikiart, as the smoke presets have
    it. Do not change it."""
    with made_once(tmp_path_factory, "encoded-data") as (layout, to_make):
        if to_make:
            for name in sample_data.datasets():
                shutil.copytree(sample_data.manifests / name, layout.manifests / name)
                (layout.shards / name).mkdir(parents=True)
                for tar in (sample_data.shards / name).glob("*.tar"):
                    (layout.shards / name / tar.name).symlink_to(tar)
            done = run_command(
                "toolkit.encode", "dataset='content' or dataset='wikiart'", "--encoder=haar",
                "--target_size=64", "--sidecar=latents", *words_of(layout),
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    return layout


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; skips the test where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data beside the repository ({SHARED_DATA.parent.name}/data)")
    return SHARED_DATA


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """`peer("flow", "torchcfm")`: a module of somebody else's program, from .venv-peers; skips the
    test where it is absent."""
    opened = set()

    def load(folder: str, name: str) -> Any:
        opened.add(name.partition(".")[0])
        monkeypatch.syspath_prepend(ROOT / ".venv-peers" / folder)
        return pytest.importorskip(name, reason=f"bench/README.md says how to install {name}")

    yield load
    for module in [m for m in sys.modules if m.partition(".")[0] in opened]:
        del sys.modules[module]


@pytest.fixture(scope="session")
def sdxl_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What --weights.base and --weights.ip_adapter name: tiny random models in the hub's layout."""
    from tests.twins import ip_adapter, sdxl

    root = tmp_path_factory.mktemp("sdxl")
    return {"base": str(sdxl(root / "base")), "ip_adapter": str(ip_adapter(root / "adapter"))}


@pytest.fixture(scope="session")
def pixart_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What --backbone and --image_encoder name: tiny random models in the hub's layout."""
    from tests.twins import clip, pixart

    root = tmp_path_factory.mktemp("pixart")
    return {"backbone": str(pixart(root / "base")), "image_encoder": str(clip(root / "clip", 64))}


@pytest.fixture(scope="session")
def _studio_origin(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    from tests.studio import pack_studio

    folder = tmp_path_factory.mktemp("studio")
    layout = Layout(folder / "shards", folder / "manifests")
    pack_studio(layout)
    return layout


@pytest.fixture
def studio(_studio_origin: Layout, tmp_path: Path) -> Layout:
    """`content` (five in train, one in val) and `wikiart` (seven), 96 pixels; a copy."""
    return copied(_studio_origin, tmp_path / "studio")
