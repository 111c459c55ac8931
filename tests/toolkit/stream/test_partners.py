"""Style partners share what they should, never are the linked picture where another exists, and
depend on the sample's seed alone."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.core.records import Link, Record
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.selection import Selection, select
from toolkit.stream.partners import Partners
from toolkit.stream.rows import Rows

STYLES = ["Cubism"] * 5 + ["Ukiyo_e"] * 3 + ["Pop_Art"]
ARTISTS = ["Gris", "Gris", "Picasso", "Picasso", None, "Hokusai", "Hokusai", "Hiroshige", "Warhol"]


@pytest.fixture
def made(
    tmp_path: Path, toy_source: type, encode: Any, make_picture: Any
) -> tuple[Selection, Selection]:
    """(targets linked to paintings, the paintings): nine paintings, two targets of each; the last
    two targets have a style and an artist that no painting has."""
    layout = Layout(tmp_path / "s", tmp_path / "m")
    paintings = {
        f"painting{i}": Record({"jpg": encode(make_picture(i))}, style=style, artist=artist)
        for i, (style, artist) in enumerate(zip(STYLES, ARTISTS, strict=True))
    }
    targets = {
        f"target{i:02d}": Record(
            {"jpg": encode(make_picture(50 + i))},
            style=STYLES[i // 2] if i < 16 else "Rococo",
            artist=None if i < 16 else "Fragonard",
            links=(Link("style", "paintings", f"painting{i // 2}"),),
        )
        for i in range(18)
    }
    for name, records in (("paintings", paintings), ("targets", targets)):
        pack(toy_source(name, records), name, layout, 7)
    main = select("main", "targets", "true", layout, tmp_path / "cache")
    return main, select("paintings", "paintings", "true", layout, tmp_path / "cache")


def drawn(made: tuple[Selection, Selection], rule: Any, tries: int = 200) -> list[tuple[int, Any]]:
    """(number of the target, number of its partner or None), `tries` draws of each target."""
    main, pool = made
    partners, rows = Partners(pool, rule), Rows(main, ["target", "style"])
    found = []
    samples = rows.samples(list(range(len(rows))))
    for turn in range(tries):
        pieces = partners.draw(samples, [turn * 1000 + i for i in range(len(samples))])
        for i, piece in enumerate(pieces):
            assert piece is None or piece.role == "style"
            found.append((i, int(piece.key.removeprefix("painting")) if piece else None))
    return found


@pytest.mark.parametrize(("rule", "kinds"), [("same_style", STYLES), ("same_artist", ARTISTS)])
def test_partners_share_what_the_rule_says(made: Any, rule: str, kinds: list[Any]) -> None:
    for target, partner in drawn(made, rule, 20):
        kind = kinds[target // 2] if target < 16 else None
        if kind is None:  # unknown to the sample, or no painting has it
            assert partner is None
        else:
            assert kinds[partner] == kind
            assert partner != target // 2 or kinds.count(kind) == 1


def test_all_others_of_the_style_are_equally_likely(made: Any) -> None:
    counts = Counter(p for t, p in drawn(made, "same_style", 4000) if t == 0)
    assert set(counts) == {1, 2, 3, 4}
    assert all(850 < count < 1150 for count in counts.values())  # 1,000 each, sd 27


def test_random_partners_are_any_other_picture(made: Any) -> None:
    found = drawn(made, "random", 2000)
    assert {p for t, p in found if t == 0} == set(range(1, 9))
    assert {p for t, p in found if t == 17} == set(range(8))


def test_samples_without_a_partner_are_counted(made: tuple[Selection, Selection]) -> None:
    main, pool = made
    assert Partners(pool, "random").num_without(main) == 0
    assert Partners(pool, "same_style").num_without(main) == 2
    # artists come from the linked painting where the target names none; one of these has none
    assert Partners(pool, "same_artist").num_without(main) == 2 + 2


def test_it_is_the_seed_that_decides(made: tuple[Selection, Selection]) -> None:
    main, pool = made
    partners, samples = Partners(pool, "random"), Rows(main, ["style"]).samples(list(range(18)))
    alone = [partners.draw([sample], [99 + i])[0] for i, sample in enumerate(samples)]
    assert alone == partners.draw(samples, [99 + i for i in range(18)])
    assert alone != partners.draw(samples, [99 + i for i in range(18)], attempt=1)


def test_unusable_rules_are_one_line(
    made: tuple[Selection, Selection], choose: Callable[..., Selection]
) -> None:
    with pytest.raises(UserError, match="same_picture is the picture that a sample is linked to"):
        Partners(made[1], "same_picture")
    with pytest.raises(UserError, match="style partner 'same_stile': choose same_picture, same_"):
        Partners(made[1], "same_stile")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no picture of the pool photos has a known artist"):
        Partners(choose("photos"), "same_artist")


def test_the_stream_shows_them_and_survives_a_bad_one(
    opened: Any, choose: Any, spoil: Any, triplets: Layout
) -> None:
    """Paintings 0 and 2 are Cubism, 1 and 3 Ukiyo_e; each target is linked to one of them."""
    spoil(triplets, "paintings", "painting3")

    def batches(**more: Any) -> list[Any]:
        partners = Partners(choose("paintings"), "same_style")
        return list(itertools.islice(opened(partners=partners, **more), 9))

    found = batches()
    for batch in found:
        for key, style, name in zip(
            batch.keys, batch.images["style"].keys, batch.style_names, strict=True
        ):
            if key.startswith("target"):
                linked = int(key[-2:]) % 4
                # 1 has no sound partner, so the next sample takes its place
                assert style == f"painting{ {0: 2, 2: 0, 3: 1}[linked] }"
                assert name == ("Cubism", "Ukiyo_e")[linked % 2]
            else:
                assert style == ""
    assert sum(batch.num_substituted for batch in found) > 3
    for more in ({"workers": 3}, {"processes": 2}):
        again = batches(**more)
        assert [b.keys for b in again] == [b.keys for b in found]
        assert [b.images["style"].keys for b in again] == [b.images["style"].keys for b in found]
