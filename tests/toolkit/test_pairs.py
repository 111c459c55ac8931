"""The command toolkit.pairs: what it plans, what it says, what it refuses."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import Call, encoded
from tests.studio import content
from toolkit import pairs
from toolkit.packing.dataset import pack
from toolkit.pairing.plan import read_plan
from toolkit.store.layout import Layout


def plan_of(layout: Layout, split: str = "train") -> Path:
    return layout.manifests / "pairs" / f"pseudo_pairs_{split}.parquet"


def test_pairs_and_pictures_are_told_apart(studio: Layout, call: Call) -> None:
    done = call(pairs.main, "--num_pairs=20", "--seeds=0,1,2", studio)
    assert done.code == 0, done.err
    assert done.out.startswith("20 pairs × 3 seeds = 60 pictures: ")
    assert "from 5 contents and 7 style pictures" in done.out
    targets = list(read_plan(plan_of(studio)))
    assert [t.seed for t in targets] == [0] * 20 + [1] * 20 + [2] * 20
    first = [(t.content_key, t.style_key) for t in targets[:20]]
    assert len(set(first)) == 20
    assert first == [(t.content_key, t.style_key) for t in targets[40:]]
    assert set(Counter(c for c, _ in first).values()) == {4}
    assert "000000000005" not in {c for c, _ in first}  # it is of val
    assert all(t.key == f"{t.content_key}_{t.style_key}_seed{t.seed}" for t in targets)
    assert targets[0].prompt == f"a photo of thing {int(targets[0].content_key)}"


def test_the_same_command_writes_the_same_bytes(studio: Layout, call: Call) -> None:
    flags = ("--num_pairs=9", "--balance=style,artist", studio)
    call(pairs.main, *flags)
    files = [plan_of(studio), plan_of(studio).with_suffix(".jsonl")]
    before = [file.read_bytes() for file in files]
    done = call(pairs.main, *flags)
    assert "9 of its pictures were planned before" in done.out
    assert [file.read_bytes() for file in files] == before


def test_lines_and_rows_say_the_same(studio: Layout, call: Call) -> None:
    call(pairs.main, "--num_pairs=6", studio)
    lines = plan_of(studio).with_suffix(".jsonl")
    assert list(read_plan(lines)) == list(read_plan(plan_of(studio)))
    first = json.loads(lines.read_text().splitlines()[0])
    assert {"content_id", "style_id", "seed", "prompt"} <= set(first)
    how = json.loads(pq.read_metadata(plan_of(studio)).metadata[b"tessera.pairs"])
    assert (how["num_pairs"], how["split"], how["version"]) == (6, "train", pairs.VERSION)


def test_balance_counts_styles_and_those_without_one(studio: Layout, call: Call) -> None:
    done = call(pairs.main, "--num_pairs=30", "--balance=style", studio)
    assert "style pictures without style, which have their turn as one: 2" in done.out
    styles = Counter(t.style for t in read_plan(plan_of(studio)))
    assert set(styles) == {"Cubism", "Ukiyo_e", None}
    assert max(styles.values()) - min(styles.values()) <= 4  # ten of each, but five contents only


def test_other_splits_have_files_of_their_own(studio: Layout, call: Call) -> None:
    done = call(pairs.main, "--split=val", "--style_where=dataset='wikiart'", studio)
    assert done.refusal() == (
        "error: --style_where=\"dataset='wikiart'\" has no picture of val, only of train\n"
    )
    done = call(pairs.main, "--split=val", "--style_where=dataset='content'", studio)
    assert "1 contents and 1 styles make 0 pairs at most" in done.refusal()  # it would be itself


def test_a_content_is_never_paired_with_its_own_likeness(studio: Layout, call: Call) -> None:
    """A painting that is a copy of content 1."""
    from tests.conftest import ToySource
    from toolkit.core.records import Record

    copy = Record({"jpg": encoded(content(1), quality=70)}, style="Cubism")
    pack(ToySource("copies", {"copy": copy}), "copies", studio, 4)
    where = "--style_where=dataset in ('wikiart', 'copies')"
    done = call(pairs.main, "--num_pairs=39", where, studio)
    assert done.code == 0, done.err
    assert "pairs passed over, content and style nearly the same: 1" in done.out
    found = {(t.content_key, t.style_key) for t in read_plan(plan_of(studio))}
    assert len(found) == 5 * 8 - 1
    assert ("000000000001", "copy") not in found


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--num_pairs=36"], "5 contents and 7 styles make 35 pairs at most"),
        (["--num_pairs=0"], "takes 1 or more"),
        (["--seeds=1,1"], "name one or more, each once"),
        (["--seeds=-1"], "takes 0 or more"),
        (["--split=trian"], "train, val, test"),
        (["--balance=genre"], "style, artist"),
        (["--content_where=dataset='contents'"], "did you mean 'content'"),
        (["--content_where=datset='content'"], "did you mean dataset"),
        (["--content_where=1; drop table x"], "where"),
    ],
)
def test_bad_flags_are_one_line(studio: Layout, call: Call, flags: list[str], says: str) -> None:
    assert says in call(pairs.main, *flags, studio).refusal()


def test_a_plan_grows_by_pairs_and_by_seeds(studio: Layout, call: Call) -> None:
    call(pairs.main, "--num_pairs=3", "--seeds=0,1", studio)
    first = set(read_plan(plan_of(studio)))
    for flags in (["--num_pairs=5", "--seeds=0,1"], ["--num_pairs=5", "--seeds=0,1,2"]):
        done = call(pairs.main, *flags, studio)
        assert done.code == 0, done.err
        assert first < set(read_plan(plan_of(studio)))
    assert "10 of its pictures were planned before" in done.out


def test_a_plan_is_not_replaced_by_other_pairs(studio: Layout, call: Call) -> None:
    call(pairs.main, "--num_pairs=9", studio)
    before = plan_of(studio).read_bytes()
    refused = call(pairs.main, "--num_pairs=9", "--draw_seed=1", studio).refusal()
    assert "holds 9 pictures, 8 of them not in this plan" in refused
    fewer = call(pairs.main, "--num_pairs=5", studio).refusal()
    assert "holds 9 pictures, 4 of them not in this plan" in fewer
    assert plan_of(studio).read_bytes() == before
    assert call(pairs.main, "--num_pairs=5", "--overwrite", studio).code == 0
    assert len(list(read_plan(plan_of(studio)))) == 5
