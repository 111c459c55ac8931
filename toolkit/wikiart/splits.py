"""Splits of WikiArt into train, val and test, 80/10/10, in two ways.

`split` is stratified by artist: of every artist's works a tenth goes to val and a tenth to test,
rounded up or down by a key of the artist, so that the whole keeps the ratio. Which ones is decided
by the rank of a keyed hash of the work. Artists of fewer than three works are in train only, and
every artist has a work in train.

`split_artist_disjoint` gives whole artists to one split: in the order of a keyed hash, each to the
split that lacks most pictures. Pictures of unknown artists are in train, since nobody knows whose
they are.

Recorded splits are kept as they are, and what is new fills up around them. Rows lie in a Spool.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.spool import Spool

TENTHS = {"train": 8, "val": 1, "test": 1}
FEWEST = 3

_Row = tuple[str, str, str | None, str | None]  # work, source id, recorded splits


@dataclass(frozen=True)
class _Tally:
    """An artist's pictures and works, how many works each split has already, and the split that
    the artist as a whole has."""

    pictures: int
    works: int
    recorded: Counter[str]
    whole: str | None


def note_work(spool: Spool, source_id: str, artist: str, work: str) -> None:
    """Adds a picture. artist: one spelling each, empty where unknown; work: the same for copies."""
    rank = key64("wikiart split", work)
    spool.add("works", [(f"{artist}\0{rank:016x}\0{work}", source_id)])


def recorded_files(place: Path) -> tuple[Path, ...]:
    """The Parquet files of recorded splits. place: a file, or a folder of manifests.

    Raises UserError when there is none or one lacks the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = tuple(sorted(place.glob("*.parquet"))) if place.is_dir() else (place,)
    if not files or not place.exists():
        raise UserError(
            f"no recorded splits in {place}: give a Parquet file or a folder of manifests"
        )
    for path in files:
        try:
            names = pq.read_schema(path).names
        except (pa.ArrowInvalid, OSError):
            raise UserError(f"{path} is no readable Parquet file: delete or replace it") from None
        if not {"source_id", "split"} <= set(names):
            raise UserError(f"{path} records no splits: it needs the columns source_id and split")
    return files


def note_recorded(spool: Spool, files: Iterable[Path]) -> None:
    """Adds the recorded splits of `recorded_files`, which these pictures keep."""
    import pyarrow.parquet as pq

    wanted = ("source_id", "split", "split_artist_disjoint")
    for path in files:
        with pq.ParquetFile(path) as file:
            names = [name for name in wanted if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=names):
                rows = ([row.get(name) for name in wanted] for row in batch.to_pylist())
                spool.add("recorded", ((row[0], row[1:]) for row in rows if row[0]))


def assign(spool: Spool) -> Iterator[tuple[str, str, str]]:
    """(source id, split, artist-disjoint split) of every picture noted, artist by artist."""
    whole = _whole_artists(spool)
    for (artist, tally), (_, rows) in zip(_tallies(spool), _by_artist(spool), strict=True):
        lacking = _lacking(artist, tally)
        for _, copies in itertools.groupby(rows, key=itemgetter(0)):
            # a work has few copies; one that is recorded draws the others to its side
            pictures = list(copies)
            split = next((row[2] for row in pictures if row[2]), None) or next(lacking)
            for _, source_id, recorded, recorded_whole in pictures:
                yield source_id, recorded or split, recorded_whole or whole[artist]


def _lacking(artist: str, tally: _Tally) -> Iterator[str]:
    """The splits that an artist's new works get, in the order of their ranks."""
    if tally.recorded and not tally.recorded["train"]:
        yield "train"
    if tally.works >= FEWEST:
        for split in ("test", "val"):
            rounding = key64("wikiart quota", split, artist) % 10
            quota = (TENTHS[split] * tally.works + rounding) // 10
            yield from itertools.repeat(split, max(0, quota - tally.recorded[split]))
    yield from itertools.repeat("train")


def _whole_artists(spool: Spool) -> dict[str, str]:
    """The split of each artist; one entry an artist, and artists are few."""
    sizes = {artist: (tally.pictures, tally.whole) for artist, tally in _tallies(spool)}
    total = sum(pictures for pictures, _ in sizes.values())
    whole, filled = {}, Counter[str]()
    for artist, (pictures, recorded) in sizes.items():
        if recorded or not artist:
            whole[artist] = recorded or "train"
            filled[whole[artist]] += pictures
    for artist in sorted(sizes.keys() - whole.keys(), key=_artist_rank):
        lack = {split: tenths * total - 10 * filled[split] for split, tenths in TENTHS.items()}
        whole[artist] = max(lack, key=lambda split: lack[split])
        filled[whole[artist]] += sizes[artist][0]
    return whole


def _artist_rank(artist: str) -> tuple[int, str]:
    return key64("wikiart artist", artist), artist


def _tallies(spool: Spool) -> Iterator[tuple[str, _Tally]]:
    for artist, rows in _by_artist(spool):
        pictures, works, recorded, whole = 0, 0, Counter[str](), None
        for _, copies in itertools.groupby(rows, key=itemgetter(0)):
            works += 1
            split = None
            for row in copies:
                pictures += 1
                split = split or row[2]
                whole = whole or row[3]
            recorded.update([split] if split else [])
        # an unknown artist is no artist: its pictures may have been recorded in several splits
        yield artist, _Tally(pictures, works, recorded, whole if artist else None)


def _by_artist(spool: Spool) -> Iterator[tuple[str, Iterator[_Row]]]:
    """Artists with their pictures, ordered by rank; the copies of a work are neighbours."""

    def rows() -> Iterator[tuple[str, _Row]]:
        for key, source_id in spool.walk("works"):
            artist, _, work = key.partition("\0")
            split, whole = next(iter(spool.get("recorded", source_id)), (None, None))
            yield artist, (work, source_id, *(x if x in TENTHS else None for x in (split, whole)))

    for artist, part in itertools.groupby(rows(), key=itemgetter(0)):
        yield artist, (row for _, row in part)
