"""SQL from the command line: expressions pass, everything that reaches for more is refused."""

import threading
from collections.abc import Iterator

import pytest

from toolkit.core.errors import UserError
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.manifest import SCHEMA

INJECTIONS = [
    "1=1); select * from read_csv('/etc/passwd'",
    "style in (select content from read_text('/etc/passwd'))",
    "style in (from read_text('/etc/passwd'))",
    "exists (select 1)",
    "(select 1) = 1",
    "(select 1)",
    "1 = any(select 1)",
    "case when true then (select true) end",
    "cast((select 1) as int) = 1",
    "list_transform([1], lambda x: (select 1)) is null",
    "{'a': (select 1)} is null",
    "COPY samples TO '/tmp/leak.csv'",
    "copy (select 1) to '/tmp/leak.csv'",
    "ATTACH '/tmp/a.db'",
    "install httpfs",
    "load httpfs",
    "export database '/tmp/x'",
    "set memory_limit='8GB'",
    "pragma database_list",
    "call pragma_version()",
    "create table x as select 1",
    "drop view samples",
    "true; drop view samples",
    "true;",
    ";",
    "",
    " ",
    "--",
    "true /* open",
    "true) -- ",
    "true)",
    "(true",
    "true) or (true",
    "true) UNION SELECT 1 --",
    "true UNION SELECT true",
    "true EXCEPT SELECT true",
    "true order by 1",
    "true limit 1",
    "true group by 1",
    "true having true",
    "true qualify true",
    "true from samples",
    "true from read_text('/etc/passwd')",
    "true where true",
    "true using sample 1%",
    "distinct style",
    "key as x",
    "1, 2",
    "row_number() over ()",
    "sum(width) over (partition by style) > 1",
    "count(*) > 1",
    "max(width) > 1",
    "getenv('HOME') = 'x'",
    "GETENV('HOME') = 'x'",
    "\"getenv\"('HOME') = 'x'",
    "main.getenv('HOME') = 'x'",
    "system.main.getenv('HOME') = 'x'",
    "list_transform(['HOME'], lambda x: getenv(x)) is null",
    "current_setting('memory_limit') = 'x'",
    "nextval('s') = 1",
    "read_text('/etc/passwd')",
    "read_blob('/etc/passwd').content is null",
    "read_csv('/etc/passwd')",
    "glob('/etc/*')",
    "sniff_csv('/etc/passwd')",
    "parquet_metadata('x')",
    "duckdb_settings()",
    "query('select 1')",
    "query_table('samples')",
    "json_execute_serialized_sql('{}')",
    "unnest([1, 2]) = 1",
    "*",
    "samples.*",
    "columns(*)",
    "columns('k.*') = 'x'",
    "$1",
    "?",
    "style = $name",
    "'open string",
    '"open name',
    "style = = 'x'",
    "\\",
]

EXPRESSIONS = [
    "true",
    "style='cubism'",
    "style = 'it''s; select 1 --'",
    "width > 48 and height between 1 and 100",
    "style in ('cubism', 'ukiyo') and not (artist is null)",
    "caption like '%picture%' or caption ilike '%PICTURE%'",
    "regexp_matches(key, '^cubism')",
    "list_contains(captions, 'another caption')",
    "len(list_filter(captions, lambda c: c like '%another%')) = 1",
    "members[1].size > 10 and members[1].ext = 'jpg'",
    "extra->>'year' = '1900'",
    "json_extract_string(extra, '$.year')::int > 1900",
    "case when width > 60 then true else false end",
    "bit_count(xor(phash, 0)) < 64",
    "key similar to '.*p0.*'",
    "'a' collate nocase = 'A'",
    "(((true)))",
    "true -- a comment",
    "true /* a comment */",
    "style\n=\n'cubism'",
    "least(width, height) % 2 = 0 and abs(-width) ** 2 > 1",
    "split is distinct from 'val'",
    "lower(style) = 'cubism' and coalesce(genre, 'x') = 'x'",
    "try_cast(caption as int) is null",
]


@pytest.fixture(scope="module")
def catalog(tiny_readonly: Layout) -> Catalog:
    return Catalog(tiny_readonly)


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("aggregates", [False, True])
def test_injections_are_refused_in_one_line(catalog: Catalog, text: str, aggregates: bool) -> None:
    if aggregates and text in ("count(*) > 1", "max(width) > 1"):
        assert catalog.expression(text, "columns", aggregates) == text
        return
    with pytest.raises(UserError) as caught:
        catalog.expression(text, "where", aggregates)
    assert str(caught.value).startswith("where ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions_pass_and_run(catalog: Catalog, text: str) -> None:
    assert catalog.expression(text, "where") == text
    rows = catalog.rows(f"SELECT count(*) FROM samples WHERE ({text}\n)")
    assert 0 < rows[0][0] <= 12 or "it''s" in text


def test_the_connection_itself_is_locked(catalog: Catalog) -> None:
    """A second wall: even SQL that was never checked reaches no file and no setting."""
    for sql in (
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "COPY (SELECT 1) TO '/tmp/tessera-leak.csv'",
        "ATTACH '/tmp/tessera-leak.db'",
        "SET enable_external_access=true",
        "SET allowed_directories=['/']",
        "SET memory_limit='64GB'",
        "INSTALL httpfs",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
    ):
        with pytest.raises(UserError) as caught:
            catalog.rows(sql)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("styl = 'x'", "style"), ("captoin is null", "caption"), ("phas = 1", "phash"),
     ("licens = 'x'", "licence")],
)  # fmt: skip
def test_an_unknown_column_names_the_nearest(catalog: Catalog, text: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"there is no column .*: did you mean {nearest}\\?"):
        catalog.rows(f"SELECT 1 FROM samples WHERE {catalog.expression(text, 'where')}")


def test_an_unknown_column_like_no_other_lists_them_all(catalog: Catalog) -> None:
    with pytest.raises(UserError) as caught:
        catalog.rows("SELECT 1 FROM samples WHERE qqqqqq")
    for column in SCHEMA.names:
        assert column in str(caught.value)


def test_an_error_while_running_is_one_line(catalog: Catalog) -> None:
    for text in ("caption::int > 1", "error('boo')"):
        with pytest.raises(UserError) as caught:
            catalog.rows(f"SELECT 1 FROM samples WHERE {catalog.expression(text, 'where')}")
        assert "\n" not in str(caught.value)
        with pytest.raises(UserError):
            catalog.table(f"SELECT 1 FROM samples WHERE {text}")


@pytest.fixture
def interrupted(catalog: Catalog) -> Iterator[None]:
    timer = threading.Timer(20, catalog.con.interrupt)
    timer.start()
    yield
    timer.cancel()


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("text", ["pg_sleep(1) is null", "write_log('x') is null"])
def test_functions_with_effects_are_refused(catalog: Catalog, text: str) -> None:
    with pytest.raises(UserError):
        catalog.expression(text, "where")


def test_datasets_are_chosen_by_name(triplets: Layout) -> None:
    catalog = Catalog(triplets, ["circles", "photos"])
    rows = catalog.rows("SELECT dataset, count(*) FROM samples GROUP BY 1 ORDER BY 1")
    assert rows == [("circles", 7), ("photos", 6)]
    with pytest.raises(UserError, match="no dataset 'photo': packed are circles, paintings"):
        Catalog(triplets, ["photo"])


def test_awkward_folder_names_are_quoted(tiny_layout: Layout) -> None:
    for name in ("it's", "a [b] {c} *?", "é 画", "-- x"):
        moved = tiny_layout.manifests.rename(tiny_layout.manifests.parent / name)
        assert Catalog(Layout(tiny_layout.shards, moved)).rows("SELECT count(*) FROM samples") == [
            (12,)
        ]
        moved.rename(tiny_layout.manifests)


@pytest.mark.parametrize("damage", [b"", b"junk" * 50])
def test_a_damaged_manifest_is_one_line(tiny_layout: Layout, damage: bytes) -> None:
    tiny_layout.manifest("tiny", 1).write_bytes(damage)
    with pytest.raises(UserError) as caught:
        Catalog(tiny_layout).rows("SELECT count(style) FROM samples")
    assert "tiny-000001.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)
