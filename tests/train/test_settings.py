"""Configurations: strict, repeated from the run's own file, and guarded when resumed."""

import dataclasses
from pathlib import Path

import pytest

from toolkit.core.config import load_toml, resolve, to_toml
from toolkit.core.errors import UserError
from train.config import RunConfig
from train.identity import differences, facts_of
from train.runs import RunFolder, default_config, load_config
from train.settings import fresh_config, stored_config, with_epochs


def fresh(**changes: str) -> RunConfig:
    return fresh_config("style_adapter", "smoke", changes)


def stored(tmp_path: Path, **changes: str) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.config.write_text(to_toml(fresh(**changes)))
    return folder


def test_preset_then_flags() -> None:
    assert fresh().optim.lr == pytest.approx(2e-3)
    changed = fresh(**{"optim.lr": "0.5", "method_config.net.gate": "0.2", "steps": "7"})
    assert (changed.optim.lr, changed.method_config.net.gate, changed.steps) == (0.5, 0.2, 7)
    assert changed.data == fresh().data


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("optim.lrr", "1", "did you mean lr"),
        ("optim.lr", "abc", "takes a number"),
        ("optim.schedule", "linear", "constant, cosine"),
        ("optim", "1", "group"),
        ("optim.lr.x", "1", "one value"),
        ("method_config.nett.gate", "1", "did you mean net"),
    ],
)
def test_wrong_names_and_values(name: str, value: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        fresh(**{name: value})


def test_a_runs_own_file_repeats_it(tmp_path: Path) -> None:
    folder = stored(
        tmp_path, **{"optim.lr": "0.125", "data.where": "style='Cubism' and \"key\">''"}
    )
    assert load_config(folder.config) == fresh(
        **{"optim.lr": "0.125", "data.where": "style='Cubism' and \"key\">''"}
    )
    assert fresh_config("style_adapter", str(folder.config), {}) == load_config(folder.config)


def test_unknown_preset_and_missing_file() -> None:
    with pytest.raises(UserError, match=r"it has .*smoke"):
        fresh_config("style_adapter", "huge", {})
    with pytest.raises(UserError, match="cannot read"):
        fresh_config("style_adapter", "nowhere.toml", {})


def test_facts_leave_out_only_what_cannot_change_the_weights() -> None:
    def facts(settings: RunConfig) -> object:
        return facts_of(settings, {"position": 3, "seed": 0}, {"weights": "a"})

    base = facts(fresh())
    for free in ("data.workers", "checkpoint.keep", "sample.num_pairs", "ranks.timeout_s"):
        assert facts(fresh(**{free: "1"})) == base, free
    tree = load_toml_tree()
    watched = ("checkpoint.", "sample.", "ranks.")
    deciding = [name for name in tree if not name.startswith(watched)]
    assert len(deciding) > 20
    free = ("workers", "prefetch", "max_bytes", "max_failures")
    for name in deciding:
        if name in ("device", "memory_limit", "wandb") or name in [
            f"data.{field}" for field in free
        ]:
            continue
        told = differences(base, facts(resolve_one(name, tree[name])))
        assert len(told) == 1, f"{name} decides the result"
        assert told[0].startswith(f"{name} was "), told


def test_facts_name_the_stream_the_code_and_the_frozen_weights() -> None:
    base = facts_of(fresh(), {"position": 3, "data": {"main": "a"}}, {"weights": "frozen"})
    assert base == facts_of(fresh(), {"position": 9, "data": {"main": "a"}}, {"weights": "frozen"})
    other = facts_of(fresh(), {"position": 3, "data": {"main": "b"}}, {"weights": "thawed"})
    assert differences(base, other) == [
        'stream.data was {"main": "a"}, is {"main": "b"}', "frozen weights was frozen, is thawed"
    ]  # fmt: skip
    assert differences(base, {k: v for k, v in base.items() if k != "torch"}) == [
        f"torch was {base['torch']}, is not there"
    ]
    assert len(base["code"]) == 64


def load_toml_tree() -> dict[str, object]:
    """Dotted name to value of every field of the smoke configuration."""
    flat: dict[str, object] = {}

    def walk(prefix: str, node: object) -> None:
        for field in dataclasses.fields(node):  # type: ignore[arg-type]
            value = getattr(node, field.name)
            if dataclasses.is_dataclass(value):
                walk(f"{prefix}{field.name}.", value)
            else:
                flat[prefix + field.name] = value

    walk("", fresh())
    return flat


def resolve_one(name: str, value: object) -> RunConfig:
    """The smoke configuration with one field changed to something else of its type."""
    if name == "method":
        return dataclasses.replace(fresh(), method="other")
    if name in ("data.crop", "data.style_partner"):
        return fresh(**{name: "random"})
    other = {
        "ema.sigma_rels": "0.1",
        "optim.schedule": "constant",
        "optim.optimizer": "adamw8bit",
        "precision": "bf16",
        "method_config.net.image_size": "128",
        "method_config.net.patch_size": "4",
        "method_config.trains": "backbone",
        "method_config.content_path": "sdedit",
        "method_config.objective": "eps_mse",
        "method_config.styles": "Cubism",
        "method_config.adapter.source": "patches",
        "method_config.adapter.purification": "none",
        "method_config.adapter.content_source": "caption",
        "method_config.adapter.style_schedule": "cosine",
        "method_config.adapter.gate": 0.2,
        "method_config.adapter.low": 0.5,
        "method_config.adapter.begin": 0.3,
        "method_config.adapter.end": 0.7,
        **{f"method_config.dropout.{name}": 0.5 for name in ("style", "text", "both")},
    }
    if name in other:
        changed: object = other[name]
    elif isinstance(value, bool):
        changed = not value
    elif isinstance(value, str):
        changed = value + "x"
    else:
        changed = value + 1  # type: ignore[operator]
    tree: dict = {}
    node = tree
    *groups, leaf = name.split(".")
    for group in groups:
        node = node.setdefault(group, {})
    node[leaf] = changed
    return resolve(fresh(), tree, "test")


def test_resuming_keeps_the_configuration(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    assert stored_config(folder, "style_adapter", {"data.workers": "0"}).data.workers == 0
    with pytest.raises(UserError, match=r"keeps its optim.lr=0.002: leave --optim.lr away"):
        stored_config(folder, "style_adapter", {"data.workers": "0", "optim.lr": "0.7"})
    with pytest.raises(UserError, match=r"keeps its steps=\d+ \(the learning rate follows it"):
        stored_config(folder, "style_adapter", {"steps": "999"})
    same = {"optim.lr": "2e-3"}
    assert stored_config(folder, "style_adapter", same) == stored_config(
        folder, "style_adapter", {}
    )
    folder.config.write_text(to_toml(dataclasses.replace(fresh(), method="style_adapter")))
    with pytest.raises(UserError, match="is of the method style_adapter, not ot_cfm"):
        stored_config(folder, "ot_cfm", {})


def test_no_run_lists_those_there_are(tmp_path: Path) -> None:
    stored(tmp_path)
    with pytest.raises(UserError, match="runs there: run"):
        stored_config(RunFolder(tmp_path / "other"), "style_adapter", {})


def test_epochs_count_the_main_task() -> None:
    """Batches of 16 samples, three quarters of them main: 2 epochs of 100 are 267 samples."""
    assert with_epochs(fresh(epochs="2"), 100).steps == 17
    kept = with_epochs(fresh(**{"checkpoint.save_epochs": "1"}), 100)
    assert (kept.steps, kept.checkpoint.save_interval) == (fresh().steps, 9)
    assert with_epochs(fresh(), 100) == fresh()


def test_toml_round_trip_of_every_default() -> None:
    config = default_config("style_adapter")
    path_free = to_toml(config)
    assert "None" not in path_free
    assert path_free.count("\n[") >= 5


def test_broken_toml(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("steps = = 3")
    with pytest.raises(UserError, match="not valid TOML"):
        load_toml(tmp_path / "x.toml")


def test_settings_that_ranks_do_not_go_with_are_refused() -> None:
    from train.parallel import check_spread
    from train.ranks import Ranks, check_backend

    pieces = {"ranks.parallel": "fsdp"}
    check_spread(fresh(compile="true", **pieces), Ranks())  # one rank has nothing to spread
    with pytest.raises(UserError, match="--compile does not go with --parallel=fsdp: leave one"):
        check_spread(fresh(compile="true", **pieces), Ranks(0, 2))
    with pytest.raises(UserError, match="adamw8bit does not go with --parallel=fsdp: take adamw"):
        check_spread(fresh(**pieces, **{"optim.optimizer": "adamw8bit"}), Ranks(0, 2))
    check_spread(fresh(compile="true"), Ranks(0, 2))
    beside = {"method_config.text_device": "cuda:1"}
    check_spread(fresh_config("pixel_sdxl", "smoke", beside), Ranks())
    with pytest.raises(UserError, match="one card for the texts of 2 ranks; take cpu, or leave"):
        check_spread(fresh_config("pixel_sdxl", "smoke", beside), Ranks(0, 2))
    with pytest.raises(UserError, match=r"--backend=nccl works between GPUs: take gloo"):
        check_backend("nccl", "cpu")
    assert (check_backend("auto", "cpu"), check_backend("auto", "cuda")) == ("gloo", "nccl")
