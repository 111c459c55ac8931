"""The strict walk over foreign tars: the same places as tarfile, and every oddity named."""

import io
import os
import tarfile
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset

from toolkit.store.tar_samples import NO_SAMPLE, examine, samples, split_name
from toolkit.store.tar_walk import NO_END_MARK, TarRefused, compression, files

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "folder/" * 20 + "näme" * 30 + ".jpg"


def write_tar(path: Path, names: list[str], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 100 * number, 1.5 if form == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    return path


def by_tarfile(path: Path) -> list[tuple[str, int, int]]:
    with tarfile.open(path, "r:") as tar:
        return [(i.name, i.offset_data, i.size) for i in tar if i.isreg()]


def by_us(path: Path) -> list[tuple[str, int, int]]:
    return [(f.name, f.offset, f.size) for f in files(path)]


def reason(path: Path) -> str:
    with pytest.raises(TarRefused) as caught:
        list(samples(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMATS)
def test_places_are_those_of_tarfile(form: str, tmp_path: Path) -> None:
    names = ["a.jpg", "b/c.d.jpg", "ü.jpg", "x" * 99, *([] if form == "ustar" else [LONG, LONG])]
    path = write_tar(tmp_path / "x.tar", names, FORMATS[form])
    assert by_us(path) == by_tarfile(path)
    assert [name for name, *_ in by_us(path)] == names


def test_a_long_ustar_name_is_joined(tmp_path: Path) -> None:
    name = "d" * 90 + "/" + "e" * 80 + ".jpg"
    path = write_tar(tmp_path / "x.tar", [name], tarfile.USTAR_FORMAT)
    assert [name for name, *_ in by_us(path)] == [name]


def test_names_in_another_encoding_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        tar.addfile(tarfile.TarInfo("é.jpg"))
    assert [name.encode("utf-8", "surrogateescape") for name, *_ in by_us(path)] == [b"\xe9.jpg"]


def test_the_real_tars_give_the_places_of_tarfile(shared_data: Path) -> None:
    plain = [p for p in (shared_data / "foreign_tars").glob("*.t*") if compression(p) is None]
    assert len(plain) == 11
    for path in plain:
        assert by_us(path) == by_tarfile(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", ("a", "jpg")),
        ("dir/a.b.JPG", ("dir/a", "b.jpg")),
        ("d.ir/a.jpg", ("d.ir/a", "jpg")),
        ("./a.jpg", ("./a", "jpg")),
        ("/a.jpg", ("/a", "jpg")),
        ("a", None),
        ("a.b/c", None),
        (".hidden.jpg", None),
        ("__meta__/a.jpg", None),
        ("__x__", None),
    ],
)
def test_names_are_split_as_webdataset_does(
    name: str, expected: tuple[str, str] | None, tmp_path: Path
) -> None:
    assert split_name(name) == expected
    path = write_tar(tmp_path / "x.tar", [name])
    read = [
        (sample["__key__"], ext)
        for sample in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
        for ext in sample
        if not ext.startswith("__")
    ]
    assert read == ([] if expected is None else [expected])


def test_hidden_files_in_folders_are_no_samples(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ["d/a.jpg", "d/._a.jpg", "d/a.txt", "d/"])
    notes: Counter[str] = Counter()
    (sample,) = samples(path, notes)
    assert (sample.name, [p.ext for p in sample.parts]) == ("d/a", ["jpg", "txt"])
    assert notes == {NO_SAMPLE: 2}  # "d/" is a plain file of that name here, as written above


def special(path: Path, change: Callable[[tarfile.TarInfo], None]) -> Path:
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
        info = tarfile.TarInfo("odd.jpg")
        change(info)
        tar.addfile(info)
    return path


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (tarfile.SYMTYPE, "odd.jpg is a symbolic link"),
        (tarfile.LNKTYPE, "odd.jpg is a hard link"),
        (tarfile.FIFOTYPE, "odd.jpg is a pipe"),
        (tarfile.CHRTYPE, "odd.jpg is a device"),
        (b"M", "odd.jpg is a member of the unknown type"),
        (tarfile.GNUTYPE_SPARSE, "odd.jpg is a sparse file"),
    ],
)
def test_members_without_bytes_of_their_own_are_refused(
    kind: bytes, text: str, tmp_path: Path
) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "a.jpg"

    assert text in reason(special(tmp_path / "x.tar", change))


@pytest.mark.parametrize(
    ("records", "text"),
    [
        ({"GNU.sparse.major": "1", "GNU.sparse.name": "real.jpg"}, "is a sparse file"),
        ({"GNU.sparse.map": "0,5", "GNU.sparse.size": "9"}, "is a sparse file"),
        ({"size": "512"}, "odd.jpg has two sizes"),
    ],
)
def test_extended_headers_that_change_the_bytes_are_refused(
    records: dict[str, str], text: str, tmp_path: Path
) -> None:
    path = special(tmp_path / "x.tar", lambda info: info.pax_headers.update(records))
    assert text in reason(path)


def test_a_real_sparse_file_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "holes.jpg", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    for form in ("gnu", "pax"):
        code = os.system(
            f"cd {tmp_path} && tar --sparse --format={form} -cf {form}.tar holes.jpg 2>/dev/null"
        )
        if code:
            pytest.skip("no GNU tar here")
        assert "holes.jpg is a sparse file" in reason(tmp_path / f"{form}.tar")


def test_members_that_stand_apart_or_twice_are_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ["a.jpg", "b.jpg", "a.txt"])
    assert reason(path) == "a.txt stands apart from the other members of its sample a"
    assert reason(write_tar(path, ["a.jpg", "a.txt", "a.JPG"])) == "a.JPG stands twice"


def test_damage_is_told_by_its_place(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ["a.jpg", "b.jpg", "c.jpg"], tarfile.USTAR_FORMAT)
    whole = path.read_bytes()
    path.write_bytes(whole[:600] + b"x" + whole[601:])
    assert "no header at byte 512" in reason(path)  # tarfile would end here without a word
    assert len(by_tarfile(path)) == 1
    path.write_bytes(whole[:1100])
    assert "b.jpg goes beyond the end of the file" in reason(path)
    path.write_bytes(whole[:700])
    assert "ends inside a header at byte 512" in reason(path)
    path.write_bytes(whole + whole)
    assert "goes on behind its end mark" in reason(path)
    path.write_bytes(b"")
    assert reason(path) == "is empty"
    path.write_bytes(b"just some text")
    assert "is not a plain tar" in reason(path)
    notes: Counter[str] = Counter()
    path.write_bytes(whole[: 512 + 1024 + 1024])
    assert len(list(files(path, notes))) == 3
    assert notes == {NO_END_MARK: 1}


def test_a_negative_size_does_not_walk_backwards(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ["a.jpg", "b.jpg"])
    data = bytearray(path.read_bytes())
    start = data.index(b"b.jpg")
    data[start + 124 : start + 136] = b"\xff" * 10 + b"\xfe\x00"  # base 256: −512
    total = sum(data[start : start + 148]) + 8 * 32 + sum(data[start + 156 : start + 512])
    data[start + 148 : start + 156] = b"%06o\0 " % total
    path.write_bytes(data)
    assert "b.jpg goes beyond the end" in reason(path)


def test_an_endless_extended_header_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with open(path, "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(512 + (1 << 30))
    tracemalloc.start()
    assert "an extended header at byte 512 is larger" in reason(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_many_members_cost_little_memory(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [])
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(10_000):
            tar.addfile(tarfile.TarInfo(f"{number:030d}.jpg"))
    tracemalloc.start()
    assert sum(1 for _ in samples(path)) == 10_000
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_a_tar_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", ["a.txt", "b.txt", "b.json", "README"])
    with pytest.raises(TarRefused) as caught:
        examine(path, Counter())
    assert str(caught.value) == (
        "holds no pictures: 2 .txt, 1 .json, 1 members without a sample's name"
    )
    with pytest.raises(TarRefused, match="holds no pictures: no files"):
        examine(write_tar(path, []), Counter())
