"""A full disk costs one line, and the same command goes on once there is room."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.store.layout import Layout

ROOM_KIB = 256  # holds the first shards of the pictures, not all of them


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for `ROOM_KIB`."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_KIB}k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def make_room(disk: Path) -> None:
    command = ["mount", "-o", "remount,size=64m", str(disk)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("full", ["shards", "manifests"])
def test_a_pack_goes_on_once_there_is_room(
    full: str, jobs: int, small_disk: Path, tmp_path: Path, make_picture: Any, encode: Any,
    run_command: Any, digests: Callable[[Layout], dict[str, str]],
) -> None:  # fmt: skip
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(40):
        (pictures / f"{number:03d}.jpg").write_bytes(encode(make_picture(number, 96, 96)))
        # captions that do not compress: the manifests are as large as the tars
        (pictures / f"{number:03d}.txt").write_text(os.urandom(2000).hex())
    roomy = Layout(tmp_path / "roomy" / "shards", tmp_path / "roomy" / "manifests")
    places = {name: small_disk if name == full else tmp_path for name in ("shards", "manifests")}
    tight = Layout(places["shards"] / "shards", places["manifests"] / "manifests")

    def pack(layout: Layout) -> Any:
        return run_command(
            "toolkit.pack", "folder", f"--src={pictures}", f"--shards={layout.shards}",
            f"--manifests={layout.manifests}", "--samples_per_shard=5", f"--jobs={jobs}",
        )  # fmt: skip

    refused = pack(tight)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: cannot write ")
    assert "No space left on device" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    assert not list(tight.shards.rglob("*.tmp")) + list(tight.manifests.rglob("*.tmp"))
    assert not tight.card("pictures").exists()
    kept = len(tight.manifests_of("pictures"))
    assert 0 < kept < 8
    make_room(small_disk)
    done = pack(tight)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[-1] == str(kept)  # shards that were not made again
    assert pack(roomy).returncode == 0
    assert digests(tight) == digests(roomy)


def test_a_full_folder_for_temporary_files_is_one_line(
    small_disk: Path, tmp_path: Path, run_command: Any
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(20_000):
        (pictures / f"{'long name ' * 24}{number:06d}.jpg").touch()
    done = run_command(
        "toolkit.pack", "folder", f"--src={pictures}", f"--shards={tmp_path / 's'}",
        f"--manifests={tmp_path / 'm'}", env={"TMPDIR": str(small_disk), "SQLITE_TMPDIR": ""},
    )  # fmt: skip
    assert done.returncode == 2, done.stdout
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "TMPDIR" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_index_of_foreign_tars_needs_little_room(
    small_disk: Path, tiny_layout: Layout, run_command: Any
) -> None:
    """Links and manifests, no bytes of the tars."""
    out = Layout(small_disk / "s", small_disk / "m")
    src = tiny_layout.shards / "tiny"
    done = run_command(
        "toolkit.pack", "webdataset", f"--src={src}", "--name=x", "--jobs=1",
        f"--shards={out.shards}", f"--manifests={out.manifests}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(path.is_symlink() for path in out.shards.rglob("*.tar"))
