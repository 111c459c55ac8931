"""Files are whole or absent, and a folder that cannot be written is named before work starts."""

import hashlib
from pathlib import Path

import pytest

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import atomic_path, make_folder, sha256_of, write_atomic


def test_a_finished_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == path.parent  # a rename must not cross file systems
        assert temporary.name.startswith(".")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "é画")
    assert (tmp_path / "a").read_bytes() == "é画".encode()


def test_a_folder_is_made_and_probed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert make_folder(folder) == folder
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/tessera")):
        with pytest.raises(UserError, match=r"cannot write to .*choose another folder") as caught:
            make_folder(path)
        assert str(path) in str(caught.value)


def test_a_target_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        write_atomic(tmp_path, b"x")


def test_sha256_is_hashlibs(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_one_line_squeezes_and_cuts() -> None:
    assert one_line(" a\n\tb  c\r\n") == "a b c"
    assert len(one_line("x" * 1000)) == 300
    assert one_line("x" * 1000).endswith("x…")
    assert one_line(ValueError("a\nb"), 2) == "a…"
