"""Tags left out and shuffled by each sample's seed."""

import numpy as np
import pytest
from scipy import stats

from toolkit.core.errors import UserError
from train.methods.pixel_sdxl.config import TagsConfig
from train.methods.pixel_sdxl.tags import varied

TAGS = [f"tag {number}" for number in range(30)] + ["best quality", "general"]
CAPTION = ", ".join(TAGS)
HOW = TagsConfig(shuffle=True, dropout=0.5, least=15, keep=("tag 3",))


def test_nothing_asked_is_the_caption() -> None:
    assert varied("A caption, as it is,  with spaces", 3, TagsConfig()) == (
        "A caption, as it is,  with spaces"
    )


def test_it_is_a_function_of_the_seed() -> None:
    assert varied(CAPTION, 5, HOW) == varied(CAPTION, 5, HOW)
    assert len({varied(CAPTION, seed, HOW) for seed in range(50)}) == 50


def test_some_go_and_some_never_do() -> None:
    counts = dict.fromkeys(TAGS, 0)
    lengths = []
    for seed in range(2000):
        found = varied(CAPTION, seed, HOW).split(", ")
        assert len(found) == len(set(found))
        assert len(found) >= 15
        lengths.append(len(found))
        for tag in found:
            counts[tag] += 1
    assert counts["best quality"] == counts["general"] == counts["tag 3"] == 2000
    others = [counts[f"tag {number}"] for number in range(30) if number != 3]
    # a sample's probability is uniform from 0 to 0.5, a quarter on average; few lose more than 17
    assert all(abs(count / 2000 - 0.75) < 0.05 for count in others)
    assert min(lengths) == 15
    assert max(lengths) == 32
    assert np.std(lengths) > 4  # of one probability for all it would be 2.3


def test_short_captions_lose_nothing() -> None:
    short = "cat, red, best quality, general"
    for seed in range(50):
        assert sorted(varied(short, seed, HOW).split(", ")) == sorted(short.split(", "))


def test_every_order_is_as_likely() -> None:
    how = TagsConfig(shuffle=True)
    first = [varied("a, b, c, d", seed, how).split(", ") for seed in range(2400)]
    orders = {tuple(order): first.count(order) for order in first}
    assert len(orders) == 24
    assert stats.chisquare(list(orders.values())).pvalue > 1e-3


def test_without_shuffling_they_keep_their_order() -> None:
    how = TagsConfig(dropout=1.0, least=3, fixed=1)
    found = varied(CAPTION, 8, how).split(", ")
    assert found == [tag for tag in TAGS if tag in found]
    assert found[-1] == "general"


def test_a_share_out_of_range_is_one_line() -> None:
    with pytest.raises(UserError, match=r"tags.dropout=1.5: takes 0 to 1"):
        TagsConfig(dropout=1.5)
