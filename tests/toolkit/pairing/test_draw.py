"""The draw: balanced on both sides, never the same pair twice, complete where all is asked for."""

from collections import Counter
from itertools import islice, pairwise

import pytest

from toolkit.pairing.draw import Tree, draw


def always(content: int, style: int) -> bool:
    return True


def test_contents_and_styles_come_equally_often() -> None:
    pairs = list(islice(draw(60, list(range(35)), 0, always), 700))
    assert len(set(pairs)) == 700
    contents, styles = Counter(c for c, _ in pairs), Counter(s for _, s in pairs)
    assert max(contents.values()) - min(contents.values()) <= 1
    assert max(styles.values()) - min(styles.values()) <= 2


def test_every_round_shows_every_content_once() -> None:
    pairs = list(islice(draw(10, list(range(20)), 3, always), 40))
    for start in range(0, 40, 10):
        assert sorted(c for c, _ in pairs[start : start + 10]) == list(range(10))
    orders = [[c for c, _ in pairs[start : start + 10]] for start in range(0, 40, 10)]
    assert all(a != b for a, b in pairwise(orders))


def test_branches_come_equally_often_whatever_their_size() -> None:
    tree: Tree = [list(range(3)), list(range(3, 50)), [[50, 51, 52, 53, 54, 55], [56, 57]]]
    branch = {n: i for i, b in enumerate((range(3), range(3, 50), range(50, 58))) for n in b}
    pairs = list(islice(draw(100, tree, 1, always), 300))
    counts = Counter(branch[s] for _, s in pairs)
    assert max(counts.values()) - min(counts.values()) <= 2
    inner = Counter("few" if s > 55 else "many" for _, s in pairs if s >= 50)
    assert abs(inner["few"] - inner["many"]) <= 2  # artists of a style, too
    of_contents: dict[int, set[int]] = {}
    for content, style in pairs:
        of_contents.setdefault(content, set()).add(branch[style])
    several = sum(len(seen) > 1 for seen in of_contents.values())
    assert several > 60  # a content is not bound to one branch


@pytest.mark.parametrize("tree", [list(range(7)), [[0], [1, 2], [3, [4, 5, 6]]]])
def test_all_pairs_are_found_and_then_it_ends(tree: Tree) -> None:
    pairs = list(draw(9, tree, 5, always))
    assert sorted(pairs) == [(c, s) for c in range(9) for s in range(7)]


def test_forbidden_pairs_never_come_and_cost_no_other() -> None:
    def may(content: int, style: int) -> bool:
        return (content + style) % 3 != 0

    pairs = list(draw(12, list(range(12)), 0, may))
    assert sorted(pairs) == [(c, s) for c in range(12) for s in range(12) if may(c, s)]


def test_more_pairs_go_on_where_fewer_ended_and_a_seed_changes_them() -> None:
    few, many = (list(islice(draw(30, list(range(20)), 0, always), n)) for n in (25, 400))
    assert many[:25] == few
    assert list(islice(draw(30, list(range(20)), 1, always), 25)) != few
