"""What is remembered is made once, and no more is kept than was allowed."""

from toolkit.core.remembered import Remembered


def test_a_value_is_made_once_while_it_is_asked_for() -> None:
    made: list[str] = []
    kept: Remembered[str] = Remembered(2)

    def ask(key: str) -> str:
        return kept.get(key, lambda: made.append(key) or key * 2)  # type: ignore[func-returns-value]

    assert [ask(key) for key in "abab"] == ["aa", "bb", "aa", "bb"]
    ask("c")  # "a" was asked for longest ago
    ask("b")
    assert "".join(made) == "abc"
    ask("a")
    assert "".join(made) == "abca"


def test_the_limit_is_on_the_sum_of_sizes() -> None:
    made: list[int] = []
    kept: Remembered[int] = Remembered(10, size=lambda value: value)

    def ask(size: int) -> None:
        assert kept.get(size, lambda: made.append(size) or size) == size  # type: ignore[func-returns-value]

    for size in (4, 5, 4, 3):  # 5 has to go
        ask(size)
    ask(4)
    ask(3)
    assert made == [4, 5, 3]
    ask(11)  # for which all others go, and which stays no more than they
    ask(11)
    ask(3)
    assert made == [4, 5, 3, 11, 11, 3]
