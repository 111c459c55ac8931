"""Reads cover every piece, join neighbours and nothing else, and stay below their cap."""

import random

from toolkit.stream.coalesce import Piece, Read, coalesce


def piece(offset: int, size: int, path: str = "a", key: str = "") -> Piece:
    return Piece(path, offset, size, "target", key or f"{path}{offset}")


def ranges(reads: list[Read]) -> list[tuple[str, int, int, int]]:
    return [(read.path, read.offset, read.size, len(read.pieces)) for read in reads]


def test_neighbours_are_read_together_and_gaps_are_kept() -> None:
    pieces = [piece(1000, 10), piece(0, 100), piece(150, 50), piece(5000, 10), piece(0, 7, "b")]
    found = coalesce(((p, n) for n, p in enumerate(pieces)), max_gap=50, max_bytes=10_000)
    assert ranges(found) == [("a", 0, 200, 2), ("a", 1000, 10, 1), ("a", 5000, 10, 1),
                             ("b", 0, 7, 1)]  # fmt: skip
    assert found[0].pieces == [(pieces[1], 1), (pieces[2], 2)]


def test_nothing_grows_beyond_the_cap_but_a_single_piece() -> None:
    pieces = [(piece(i * 100, 100), i) for i in range(10)] + [(piece(1000, 900), 10)]
    found = coalesce(pieces, max_gap=0, max_bytes=300)
    assert [read.size for read in found] == [300, 300, 300, 100, 900]


def test_the_same_range_twice_is_read_once() -> None:
    assert ranges(coalesce([(piece(5, 10), 0), (piece(5, 10), 3)])) == [("a", 5, 10, 2)]
    assert ranges(coalesce([(piece(0, 100), 0), (piece(20, 10), 1)])) == [("a", 0, 100, 2)]
    assert coalesce([]) == []


def test_random_pieces_are_all_covered() -> None:
    rng = random.Random(3)
    for _ in range(200):
        pieces = [
            (piece(rng.randrange(5000), rng.randrange(1, 400), rng.choice("ab")), n)
            for n in range(rng.randrange(1, 30))
        ]
        gap, cap = rng.randrange(200), rng.randrange(1, 2000)
        found = coalesce(pieces, gap, cap)
        assert sorted(p for read in found for p in read.pieces) == sorted(pieces)
        for read in found:
            assert min(p.offset for p, _ in read.pieces) == read.offset
            assert max(p.offset + p.size for p, _ in read.pieces) == read.offset + read.size
            assert {p.path for p, _ in read.pieces} == {read.path}
            assert read.size <= cap or len(read.pieces) == 1 or any(
                p.size > cap for p, _ in read.pieces
            )  # fmt: skip
