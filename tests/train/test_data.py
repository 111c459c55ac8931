"""What a run streams is what its configuration says: partners, pools, and what is missing."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from train.data import open_loader, select_data
from train.settings import fresh_config


class Needs:
    """A method that reads contents and styles of 16 pixels."""

    roles = ("target", "content", "style")
    size = 16


def settings(**data: Any) -> Any:
    base = fresh_config("style_adapter", "smoke", {})
    data = {"main": "targets", "mix": "main:3,circles:1", "batch_size": 6, "workers": 0,
            "style_pool": "paintings", **data}  # fmt: skip
    return replace(base, data=replace(base.data, **data))


def batches(config: Any, layout: Layout, count: int = 9) -> list[Any]:
    selections, _ = select_data(config.data, layout)
    with open_loader(config, selections, Needs, layout) as loader:
        return list(itertools.islice(loader, count))


def styles(found: list[Any]) -> list[tuple[str, str]]:
    return [
        (key, style)
        for batch in found
        for key, style in zip(batch.keys, batch.images["style"].keys, strict=True)
        if key.startswith("target")
    ]


def test_style_partners_are_drawn_from_the_pool(
    triplets: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    linked = styles(batches(settings(), triplets))
    assert all(style == f"painting{int(key[-2:]) % 4}" for key, style in linked)
    drawn = styles(batches(settings(style_partner="same_style"), triplets))
    assert [key for key, _ in drawn] == [key for key, _ in linked]
    assert all(style == f"painting{(int(key[-2:]) + 2) % 4}" for key, style in drawn)
    said = capsys.readouterr().out
    assert "style pictures: same_style among 4 of paintings; 0 of 13 samples keep their own" in said
    assert "MB in flight" in said


def test_a_state_of_other_partners_is_refused(triplets: Layout) -> None:
    plain = settings()
    selections, _ = select_data(plain.data, triplets)
    with open_loader(plain, selections, Needs, triplets) as loader:
        state = loader.state_dict()
    with open_loader(settings(style_partner="random"), selections, Needs, triplets) as other:
        with pytest.raises(UserError, match="cannot resume the data stream: partners was None"):
            other.load_state_dict(state)
        drawn = other.state_dict()
    with (
        open_loader(plain, selections, Needs, triplets) as loader,
        pytest.raises(UserError, match="cannot resume the data stream: partners was"),
    ):
        loader.load_state_dict(drawn)


def test_a_pool_that_is_not_there_is_one_line(triplets: Layout) -> None:
    with pytest.raises(UserError, match="the task style_pool needs the dataset 'wikiart'"):
        batches(settings(style_partner="random", style_pool="wikiart"), triplets)
    with pytest.raises(UserError, match="no picture of the pool style_pool has a known style"):
        batches(settings(style_partner="same_style", style_pool="photos"), triplets)
