"""The nearest of known names."""

from toolkit.core.nearest import choices, nearest, or_nearest, suggestion


def test_the_nearest_name_keeps_its_capitals() -> None:
    assert nearest("cubsm", ["Ukiyo_e", "Cubism"]) == "Cubism"
    assert nearest("CUBISM", ["Ukiyo_e", "Cubism"]) == "Cubism"
    assert nearest("zzz", ["Ukiyo_e", "Cubism"]) is None


def test_all_are_listed_where_none_is_near() -> None:
    assert suggestion("tabel", ["table", "json"]) == "did you mean table?"
    assert suggestion("zzz", ["table", "json"]) == "known: table, json"
    assert choices("tabel", ["table", "json"]) == "choose one of table, json; did you mean table?"
    assert choices("zzz", [1, 2]) == "choose one of 1, 2"
    assert or_nearest("zzz", ["table"]) == ""


def test_a_list_has_an_end() -> None:
    many = [f"column-{number}" for number in range(1000)]
    text = suggestion("zzz", many)
    assert text.endswith("column-39 and 960 more")
    assert suggestion("zzz", []) == "known: none"
