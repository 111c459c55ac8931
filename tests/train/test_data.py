"""What a run streams is what its configuration says: partners, pools, and what is missing."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.core.records import Record
from toolkit.encode import main as encode_command
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from train.data import facts_of_data, open_data, open_loader
from train.methods.needs import Feature, Needs
from train.settings import fresh_config

NEEDS = Needs(("target", "content", "style"), 16)


def settings(**data: Any) -> Any:
    base = fresh_config("style_adapter", "smoke", {})
    data = {"main": "targets", "mix": "main:3,circles:1", "batch_size": 6, "workers": 0,
            "style_pool": "paintings", **data}  # fmt: skip
    return replace(base, data=replace(base.data, **data))


def batches(config: Any, layout: Layout, count: int = 9) -> list[Any]:
    data = open_data(config.data, NEEDS, layout)
    with open_loader(config, data, NEEDS, layout) as loader:
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


def test_a_state_of_other_partners_is_refused(triplets: Layout) -> None:
    plain = settings()
    data = open_data(plain.data, NEEDS, triplets)
    with open_loader(plain, data, NEEDS, triplets) as loader:
        state = loader.state_dict()
    with open_loader(settings(style_partner="random"), data, NEEDS, triplets) as other:
        with pytest.raises(UserError, match="cannot resume the data stream: partners was None"):
            other.load_state_dict(state)
        drawn = other.state_dict()
    with (
        open_loader(plain, data, NEEDS, triplets) as loader,
        pytest.raises(UserError, match="cannot resume the data stream: partners was"),
    ):
        loader.load_state_dict(drawn)


def test_a_pool_that_is_not_there_is_one_line(triplets: Layout) -> None:
    with pytest.raises(UserError, match="the task style_pool needs the dataset 'wikiart'"):
        batches(settings(style_partner="random", style_pool="wikiart"), triplets)
    with pytest.raises(UserError, match="no picture of the pool style_pool has a known style"):
        batches(settings(style_partner="same_style", style_pool="photos"), triplets)


def test_stored_tensors_come_with_the_batches_and_settle_the_configuration(
    triplets: Layout,
) -> None:
    needs = Needs((), 0, (Feature("x1", "target", "tiny"),), inputs=("target",))
    config = settings(main="photos", mix="main:1,paintings:1")
    with pytest.raises(UserError, match="paintings and photos have no sidecar tiny"):
        open_data(config.data, needs, triplets)
    encode_command(
        "dataset='photos' or dataset='paintings'", encoder="haar", target_size=16, sidecar="tiny",
        shards=triplets.shards, manifests=triplets.manifests,
    )  # fmt: skip
    data = open_data(config.data, needs, triplets)
    facts = facts_of_data(data)
    assert facts.features["x1"].encoder["encoder"] == "haar"
    assert facts.features["x1"].shape == (192, 2, 2)
    assert set(facts.styles) == {"main", "paintings"}
    assert all(facts.styles["paintings"])
    with open_loader(config, data, needs, triplets) as loader:
        batch = next(iter(loader))
    assert not batch.images
    assert batch.features["x1"][0].shape == (6, 192, 2, 2)
    assert (batch.task == 0).sum() == 3


def test_held_out_samples_are_watched_although_the_first_task_has_none(
    tmp_path: Any, toy_source: Any, make_picture: Any, encode: Any
) -> None:
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    for name, splits in (("first", ("train",) * 3), ("second", ("train", "val", "train"))):
        records = {
            f"{name}{n}": Record({"jpg": encode(make_picture(n))}, split=split)
            for n, split in enumerate(splits)
        }
        pack(toy_source(name, records), name, layout, 8)
    config = settings(main="first", mix="main:1,second:1")
    found = open_data(config.data, Needs(("target",), 16), layout)
    watched = {s.name: s.table.column("key").to_pylist() for s in found.validation}
    assert watched == {"main": ["first0", "first1", "first2"], "second": ["second1"]}
    (note,) = found.notes
    assert "the loss is watched on samples of the training itself" in note
