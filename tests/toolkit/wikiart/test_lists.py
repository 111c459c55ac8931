"""ArtGAN's lists: both ways of writing a row, odd folders, and names that encodings mangled."""

import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from toolkit.wikiart.lists import Lists, find_lists

STYLE_ROWS = (
    "Cubism/juan-gris_guitar.jpg,0\r\n"
    "Art_Nouveau_Modern/alphonse-mucha_gismonda.jpg,1\r\n"
    "Cubism/andrã©-lhote_port.jpg,0\r\n"
    "Cubism/no-class.jpg,77\r\n"
    "no row at all\r\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "Style/style_class.txt": "0 Cubism\n1 Art_Nouveau\n",
        "Style/style_train.csv": STYLE_ROWS,
        "Style/style_val.csv": "Cubism/jean-metzinger_tea, time.jpg,0\r\n",
        "Artist/artist_class": "0 Juan_Gris\n",
        "Artist/artist_train": "(Path to image),, (Groundtruth class) \n\n"
        "Cubism/juan-gris_guitar.jpg,,0\n",
        "Artist/artist_val": "(Path to image),, (Groundtruth class)\n\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def opened(folder: Path, notes: Counter[str] | None = None) -> Lists:
    files = find_lists(folder)
    assert files is not None
    return Lists(files, Counter() if notes is None else notes)


def known(lists: Lists, path: str) -> dict[str, str]:
    return lists.classes(path, lists.find(path))


def test_rows_of_both_kinds(folder: Path) -> None:
    notes: Counter[str] = Counter()
    with opened(folder, notes) as lists:
        both = {"style": "Cubism", "artist": "Juan_Gris"}
        assert known(lists, "Cubism/juan-gris_guitar.jpg") == both
        assert known(lists, "Cubism/jean-metzinger_tea, time.jpg") == {"style": "Cubism"}
        mucha = "Art_Nouveau_Modern/alphonse-mucha_gismonda.jpg"
        assert known(lists, mucha) == {"style": "Art_Nouveau"}
        assert lists.count_absent() == 1
    assert notes == {"list rows of no known class": 1, "malformed list rows": 1}


def test_unlisted_pictures_are_classed_with_their_neighbours(folder: Path) -> None:
    with opened(folder) as lists:
        assert lists.find("Art_Nouveau_Modern/jan-toorop_song.jpg") is None
        assert known(lists, "Art_Nouveau_Modern/jan-toorop_song.jpg") == {"style": "Art_Nouveau"}
        other = known(lists, "Fauvism/juan-gris_early-thing.jpg")
        assert other == {"artist": "Juan_Gris"}
        assert known(lists, "loose.jpg") == {}


@pytest.mark.parametrize(
    "name",
    ["andrã©-lhote", "andré-lhote", "André-lhote", "andrÃ©-lhote", "andr├⌐-lhote", "andr├ú┬⌐-lhote",
     unicodedata.normalize("NFD", "andré-lhote"), unicodedata.normalize("NFD", "andrã©-lhote"),
     "andr\udce3\udca9-lhote"],
    ids=["listed", "right", "capital", "latin-1", "cp437", "cp437 listed", "NFD", "NFD listed",
         "raw bytes"],
)  # fmt: skip
def test_mangled_names_are_found(folder: Path, name: str) -> None:
    with opened(folder) as lists:
        assert lists.find(f"Cubism/{name}_port.jpg") == "Cubism/andrã©-lhote_port.jpg"
        assert lists.find("Cubism/andre-lhote_port.jpg") is None
        assert lists.find(f"Fauvism/{name}_port.jpg") is None


def test_lists_lie_in_folders_or_loose(folder: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    assert find_lists(loose) is None
    for path in (folder / "Style").iterdir():
        (loose / path.name).write_bytes(path.read_bytes())
    files = find_lists(loose)
    assert files is not None
    assert list(files.classes) == ["style"]
    assert [path.name for path in files.pictures["style"]] == ["style_train.csv", "style_val.csv"]


def test_a_list_that_went_away_is_one_line(folder: Path) -> None:
    files = find_lists(folder)
    assert files is not None
    (folder / "Style" / "style_val.csv").unlink()
    with pytest.raises(UserError, match=r"cannot read .*style_val\.csv"):
        Lists(files, Counter())


@pytest.mark.slow
def test_the_real_lists_are_read_whole(shared_data: Path) -> None:
    """Against the files themselves, taken apart by other means."""
    meta, notes = shared_data / "wikiart_meta", Counter[str]()
    names = {kind: [line.split()[1] for line in path.read_text().splitlines()]
             for kind, path in (("style", meta / "Style/style_class.txt"),
                                ("genre", meta / "Genre/genre_class"),
                                ("artist", meta / "Artist/artist_class"))}  # fmt: skip
    expected: dict[str, dict[str, str]] = {}
    rows = Counter[str]()
    for kind in names:
        for path in sorted((meta / kind.capitalize()).glob(f"{kind}_[tv]*")):
            for line in path.read_text("utf-8").split("\n"):
                cells = line.strip().split(",")
                if cells[-1].isdigit():
                    rows[kind] += 1
                    expected.setdefault(cells[0], {}).setdefault(kind, names[kind][int(cells[-1])])
    assert rows == {"style": 81446, "genre": 64995, "artist": 19052}
    with opened(meta, notes) as lists:
        some = [path for path in expected if not path.isascii()] + sorted(expected)[::50]
        for path in some:
            found = known(lists, path)
            assert found == {**found, **expected[path]}
            assert set(found) - set(expected[path]) <= {"artist"}  # by the artist's other works
        distinct = len(set(some))
        assert lists.count_absent() == len(expected) - distinct == 81446 - distinct
        # the name as it was before somebody read its UTF-8 as Latin-1 and lowered it
        mangled = [path for path in expected if not path.isascii()]
        right = [
            path.replace("ã", "Ã").replace("â", "Â").encode("latin-1").decode("utf-8")
            for path in mangled
        ]
        assert len(mangled) == 709
        assert any("Symbolism/arnold-böcklin_" in path for path in right)
        for form in ("NFC", "NFD"):
            spelt = [lists.find(unicodedata.normalize(form, path)) for path in right]
            assert spelt == mangled
    assert notes == {}
