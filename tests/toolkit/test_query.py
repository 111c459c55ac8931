"""The query command: what it lists, in which form, and what it refuses on every flag."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from toolkit.core.records import Record
from toolkit.packing.dataset import pack
from toolkit.query import main, split_list
from toolkit.store.images import PictureError
from toolkit.store.layout import Layout
from toolkit.store.manifest import SCHEMA, read_manifest

Query = Callable[..., Any]


@pytest.fixture
def layout(tiny_readonly: Layout) -> Layout:
    return tiny_readonly


@pytest.fixture
def query(layout: Layout, call: Callable[..., Any]) -> Query:
    """Runs the command over `tiny`, or `of` another layout."""
    return lambda *args, of=layout: call(main, *args, of)


def rows(result: tuple[int, str, str]) -> list[dict[str, Any]]:
    code, out, err = result
    assert (code, err) == (0, "")
    return list(json.loads(out))


@pytest.fixture
def mixed(tiny_layout: Layout, toy_source: type, encode: Any, make_picture: Any) -> Layout:
    """`tiny` and a dataset `mixed` with a failed input."""
    records = {"good": Record({"jpg": encode(make_picture(1))}), "bad": Record({"jpg": b"x"})}
    pack(toy_source("mixed", records), "mixed", tiny_layout, 5)
    return tiny_layout


def test_it_finds_what_the_manifests_hold(query: Query, layout: Layout) -> None:
    expected = [row["key"] for path in layout.manifests_of("tiny") for row in read_manifest(path)
                if row["style"] == "cubism"]  # fmt: skip
    found = rows(query("style='cubism'", "--columns=key", "--format=json"))
    assert sorted(row["key"] for row in found) == sorted(expected)
    assert len(found) == 4


def test_every_column_can_be_shown(query: Query) -> None:
    found = rows(query("--columns=" + ",".join(SCHEMA.names), "--format=json", "--limit=1"))
    assert list(found[0]) == SCHEMA.names
    assert found[0]["members"][0]["ext"] == "jpg"


def test_all_forms_hold_the_same_rows(query: Query, tmp_path: Path) -> None:
    flags = ("width > 48", "--columns=key, width, captions")
    found = rows(query(*flags, "--format=json"))
    assert len(found) == 9
    table = list(csv.DictReader(io.StringIO(query(*flags, "--format=csv")[1])))
    assert [(row["key"], int(row["width"])) for row in table] == [
        (row["key"], row["width"]) for row in found
    ]
    out = tmp_path / "deep" / "rows.parquet"
    code, text, _ = query(*flags, f"--out={out}")
    assert (code, text) == (0, f"9 rows written to {out}\n")
    assert pq.read_table(out).to_pylist() == found
    keys = query("width > 48", "--format=keys")[1].splitlines()
    assert keys == [f"tiny/{row['key']}" for row in found]


def test_a_table_shows_twenty_rows_and_says_how_many_more(triplets: Layout, query: Query) -> None:
    code, out, _ = query(of=triplets)
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 2 + 20 + 1
    assert lines[-1] == "… 10 more rows: --limit=30 shows all 30"
    assert len(query("--limit=30", of=triplets)[1].splitlines()) == 32
    assert query("--limit=0", of=triplets)[1].splitlines()[-1] == "0 rows"
    assert query("style = 'Dada'", of=triplets)[1].splitlines()[-1] == "0 rows"


def test_counting(query: Query, triplets: Layout) -> None:
    assert query("--count") == (0, "12\n", "")
    assert query("split = 'val'", "--count")[1] == "3\n"
    assert query("style = 'Baroque'", "--count")[1] == "0\n"
    assert query("--count", "--datasets=photos,circles", of=triplets)[1] == "13\n"


def test_grouping_and_ordering(query: Query) -> None:
    found = rows(
        query(
            "--group_by=style", "--columns=count(*) as n, max(width) AS widest, min(key)",
            "--order_by=style desc", "--format=json",
        )
    )  # fmt: skip
    assert [row["style"] for row in found] == ["ukiyo", "sketch", "cubism"]
    assert {(row["n"], row["widest"]) for row in found} == {(4, 96)}
    assert rows(query("--group-by=split", "--format=json")) == [
        {"split": "val", "count": 3}, {"split": None, "count": 9},
    ]  # fmt: skip
    ordered = rows(query("--columns=key,width", "--order_by=width desc, key", "--format=json"))
    pairs = [(-row["width"], row["key"]) for row in ordered]
    assert pairs == sorted(pairs)


def test_the_order_is_stable_without_order_by(query: Query, triplets: Layout) -> None:
    keys = query("--format=keys", of=triplets)[1].splitlines()
    assert len(keys) == 30
    assert keys == sorted(keys)


def test_failed_inputs_appear_when_asked_for(mixed: Layout, query: Query) -> None:
    flags = ("--columns=source_id, status, cause, error", "--format=json", "--datasets=mixed")
    assert [row["source_id"] for row in rows(query(*flags, of=mixed))] == ["good"]
    (failed,) = rows(query("status = 'failed'", *flags, of=mixed))
    assert failed["cause"] == "not_a_picture"
    assert failed["error"].startswith("no picture format begins")
    assert query("--count", of=mixed)[1] == "13\n"
    assert query("status is not null", "--count", of=mixed)[1] == "14\n"


def test_a_text_with_the_word_status_does_not_ask_for_failed_inputs(
    mixed: Layout, query: Query
) -> None:
    assert query("source_id <> 'my status'", "--count", of=mixed)[1] == "13\n"


def test_a_qualified_status_asks_for_failed_inputs_too(mixed: Layout, query: Query) -> None:
    assert query("samples.status = 'failed'", "--count", of=mixed)[1] == "1\n"


def test_a_dataset_named_twice_is_listed_once(triplets: Layout, query: Query) -> None:
    assert query("--datasets=photos,photos", "--count", of=triplets)[1] == "6\n"


@pytest.mark.parametrize("flag", ["where", "columns", "group_by", "order_by"])
@pytest.mark.parametrize(
    "text",
    [
        "1=1); select * from read_csv('/etc/passwd'",
        "key in (from read_text('/etc/passwd'))",
        "key from read_text('/etc/passwd')",
        "key union select 1",
        "list_transform(['HOME'], lambda x: getenv(x))",
        "row_number() over ()",
        "*",
        "key /* open",
        "key as \"a\" from read_text('/etc/passwd')",
        "key desc nulls last; select 1",
    ],
)
def test_injections_are_refused_on_every_flag(query: Query, flag: str, text: str) -> None:
    message = query(f"--{flag}={text}").refusal()
    assert flag in message
    assert "root:" not in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--columns=styl"], "there is no column 'styl': did you mean style?"),
        (["--group_by=datset"], "there is no column 'datset': did you mean dataset?"),
        (["--order_by=widht"], "there is no column 'widht': did you mean width?"),
        (["captoin is null", "--count"], "did you mean caption?"),
        (["style=Cubism"], "no column 'Cubism': a text is written 'Cubism'; columns"),
        (['style="Cubism"'], "no column 'Cubism': a text is written 'Cubism'; columns"),
        (["style='a'; drop table samples"], "where must be one expression, it holds several"),
        (["--columns=interval 1 month as g", "--out=g.parquet"], "cast(x as varchar)"),
        (["--columns=count(*)"], "columns may not use the function count_star"),
        (["count(*) > 1"], "where may not use the function"),
        (["--group_by=style", "--columns=key"], "must appear in the GROUP BY clause"),
        (["--group_by=count(*)"], "group_by may not use the function"),
        (["--limit=-1"], "limit=-1: takes a whole number from 0"),
        (["--limit=x"], "limit=x: takes a whole number"),
        (["--format=xml"], "choose one of table, json, csv, keys"),
        (["--datasets=tinny"], "there is no dataset 'tinny': packed are tiny"),
        (["style = 'it"], "unterminated"),
        (["caption"], "where must be a condition, as in width > 500; 'caption' is VARCHAR"),
        (["1/0"], "where must be a condition"),
        (["caption::int > 1"], "Could not convert"),
        (["--out=/proc/tessera/x.parquet"], "cannot write to /proc/tessera"),
    ],
)
def test_mistakes_are_one_line(query: Query, flags: list[str], message: str) -> None:
    assert message in query(*flags).refusal()


@pytest.mark.parametrize(
    "flags", [["--columns=key, key"], ["--columns=key as a, style as a"],
              ["--group_by=style", "--columns=style, count(*)"]],
)  # fmt: skip
def test_columns_of_the_same_name(query: Query, flags: list[str]) -> None:
    assert query(*flags)[0] in (0, 2)


def test_a_comment_swallows_nothing(query: Query) -> None:
    code, out, _ = query("--order_by=key -- and more", "--format=json", "--limit=2")
    assert code == 2 or len(json.loads(out)) == 2


def test_out_that_is_a_folder_is_one_line(query: Query, tmp_path: Path) -> None:
    query(f"--out={tmp_path}").refusal()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a, b,c", ["a", "b", "c"]),
        ("f(a, b), 'x,y', \"p,q\"", ["f(a, b)", "'x,y'", '"p,q"']),
        ("[1, 2], {'a': 1, 'b': 2}", ["[1, 2]", "{'a': 1, 'b': 2}"]),
        ("'it''s, ok', b", ["'it''s, ok'", "b"]),
        (" , a,, ", ["a"]),
        ("", []),
    ],
)
def test_lists_split_at_outer_commas_only(text: str, parts: list[str]) -> None:
    assert split_list(text) == parts


def test_texts_with_commas_and_names(query: Query) -> None:
    found = rows(
        query("--columns='a, b' as p, concat(key, ',') as q", "--format=json", "--limit=1")
    )
    assert found[0]["p"] == "a, b"
    assert found[0]["q"].endswith(",")


def test_the_real_command_refuses_in_one_line(
    run_command: Any, layout: Layout, tmp_path: Path
) -> None:
    flags = (f"--shards={layout.shards}", f"--manifests={layout.manifests}")
    bad = "style in (select content from read_text('/etc/passwd'))"
    done = run_command("toolkit.query", bad, *flags, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: where holds a sub-query: use columns, constants, operators, functions\n"
    )


def test_paths_relative_to_the_working_folder(
    tiny_layout: Layout, run_command: Any, tmp_path: Path
) -> None:
    assert tiny_layout.manifests == tmp_path / "manifests"
    done = run_command("toolkit.query", "--count", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "12\n"), done.stderr


# --- hints


@pytest.mark.parametrize("flags", [["--count"], [], ["--format=keys"]])
def test_a_value_that_no_row_has_is_answered_with_the_nearest(
    flags: list[str], query: Query, triplets: Layout
) -> None:
    outcome = query("style = 'cubsm'", *flags, of=triplets)
    assert outcome.code == 0
    assert outcome.err == "no row has style 'cubsm': did you mean 'Cubism'?\n"
    both = query("style='ukiyoe' or dataset = 'photo'", *flags, of=triplets)
    assert both.err.splitlines() == [
        "no row has style 'ukiyoe': did you mean 'Ukiyo_e'?",
        "no row has dataset 'photo': did you mean 'photos'?",
    ]


@pytest.mark.parametrize("where", ["style='Zzz'", "style='Cubism' and width > 9999", "key='x'"])
def test_nothing_near_is_no_hint(where: str, query: Query, triplets: Layout) -> None:
    assert query(where, "--count", of=triplets) == (0, "0\n", "")


def test_a_dataset_for_an_expression_is_told_the_condition(query: Query) -> None:
    assert "tiny is a dataset, not a column: write dataset='tiny'" in query("tiny").refusal()


def test_rehearsals_stay_out_unless_they_are_named(
    query: Query, tiny_layout: Layout, toy_source: type, encode: Any, make_picture: Any
) -> None:
    records = {name: Record({"jpg": encode(make_picture(1))}) for name in "ab"}
    pack(toy_source("more", records), "more-rehearsal", tiny_layout, 5)
    assert query("--count", of=tiny_layout).out == "12\n"
    assert query("--count", "--datasets=more-rehearsal", of=tiny_layout).out == "2\n"
    for folder in (tiny_layout.shards, tiny_layout.manifests):
        shutil.rmtree(folder / "tiny")
    assert query("--count", of=tiny_layout).out == "2\n"


def test_the_last_column_is_shown_whole(
    tiny_layout: Layout, toy_source: type, query: Query
) -> None:
    error = "the first half of a long explanation, and the second half, which says what to do"
    records = {"bad": PictureError("undecodable", error)}
    pack(toy_source("mixed", records), "mixed", tiny_layout, 5)
    assert query("status='failed'", of=tiny_layout).out.splitlines()[2].endswith(error)


def test_a_long_query_writes_no_progress_into_the_output(layout: Layout) -> None:
    """Under `python -c`, as in a notebook, DuckDB would draw a bar on stdout after two seconds."""
    program = (
        "import sys; from toolkit.store.catalog import Catalog; "
        "from toolkit.store.layout import Layout; "
        "con = Catalog(Layout(sys.argv[1], sys.argv[2])).con; "
        "name = \"name = 'enable_progress_bar'\"; "
        "print(con.sql(f'SELECT value FROM duckdb_settings() WHERE {name}').fetchall())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(layout.shards), str(layout.manifests)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[('false',)]\n"
