"""Protocols: presets, hashes, what differs, what a file may say."""

from pathlib import Path

import pytest

from toolkit.core.errors import UserError
from toolkit.teachers.protocol import difference, load_protocol, protocol_names


def test_the_presets_say_what_source_a_says() -> None:
    fixed, generation = load_protocol("a-fixed"), load_protocol("a-generation")
    assert {"a-fixed", "a-generation", "reinhard"} == set(protocol_names())
    for protocol in (fixed, generation):
        settings = protocol.settings
        assert (settings.steps, settings.ip_adapter_scale, settings.sampler) == (25, 0.30, "ddim")
        assert (protocol.size, protocol.seeds) == (512, (0, 1, 2))
    assert difference(fixed, generation) == {
        "guidance_scale": (3.8, 3.5), "strength": (0.45, 0.40),
    }  # fmt: skip


def test_the_hash_is_of_what_decides_pictures(tmp_path: Path) -> None:
    fixed = load_protocol("a-fixed")
    text = (Path(__file__).parents[3] / "toolkit/teachers/protocols/a-fixed.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("seeds = [0, 1, 2]", "seeds = [7]"))
    mine = load_protocol(str(tmp_path / "mine.toml"))
    assert mine.sha256 == fixed.sha256  # seeds are the plan's, names are for people
    assert mine.tag == f"mine-1:{fixed.sha256[:8]}"
    for old, new in (("3.8", "3.9"), ("version = 1", "version = 2"), ("512", "1024")):
        (tmp_path / "mine.toml").write_text(text.replace(old, new))
        assert load_protocol(str(tmp_path / "mine.toml")).sha256 != fixed.sha256, old


def test_flags_make_another_protocol() -> None:
    changed = load_protocol("a-fixed", {"settings": {"strength": "0.5"}})
    assert (changed.name, changed.settings.strength) == ("a-fixed~", 0.5)
    assert load_protocol("a-fixed", {"settings": {"strength": "0.45"}}).name == "a-fixed"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version = 1", "must name its teacher"),
        ('teacher = "sdxl"', "no teacher 'sdxl'"),
        ('teacher = "api"', "no teacher 'api'"),
        ('teacher = "reinhard"\nstrenght = 1', "unknown name strenght"),
        ('teacher = "reinhard"\n[settings]\ntextur = 1', "did you mean texture"),
        ('teacher = "reinhard"\n[settings]\ntexture = 900', "texture must be"),
        ('teacher = "reinhard"\nsize = -1', "size=-1: takes a multiple of 1 from 64 to 4096"),
        ('teacher = "sdxl_ip_adapter"\nsize = 100', "size=100: takes a multiple of 8"),
        ('teacher = "sdxl_ip_adapter"\nsize = 100000', "from 64 to 4096"),
        ('like = "a-fixed"\nteacher = "reinhard"', "and then no teacher"),
        ('like = "b-fixed"', "there is no protocol 'b-fixed'"),
        ('like = "mine.toml"', "is like itself"),
        ("like = 3", 'write like = "NAME"'),
        ('teacher = "reinhard"\nname = "x"', "unknown name name"),
        ("teacher = ", "not valid TOML"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load_protocol(str(path))


def test_an_unknown_preset_names_the_known() -> None:
    with pytest.raises(UserError, match="choose a-fixed, a-generation, reinhard"):
        load_protocol("a-fix")


def test_a_file_says_only_what_differs(tmp_path: Path) -> None:
    path, more = tmp_path / "softer.toml", tmp_path / "softest.toml"
    path.write_text('like = "a-fixed"\n[settings]\nstrength = 0.4\n')
    assert difference(load_protocol("a-fixed"), load_protocol(str(path))) == {
        "strength": (0.45, 0.4)
    }
    more.write_text('like = "softer.toml"\nsize = 768\n')
    found = load_protocol(str(more))
    assert (found.name, found.size, found.settings.strength) == ("softest", 768, 0.4)
    path.write_text('teacher = "sdxl_ip_adapter"\n')
    assert (load_protocol(str(path)).size, load_protocol(str(path)).seeds) == (512, (0, 1, 2))
