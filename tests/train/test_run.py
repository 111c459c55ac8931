"""train.run in this process, on a small network: how runs begin, go on, and refuse to."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.core.command import run
from toolkit.store.layout import Layout
from toolkit.stream.batch import Batch
from train.config import CheckpointConfig, RunConfig, SampleConfig
from train.methods.api import LossOut
from train.methods.style_adapter.joint import Joint
from train.run import _fields, main
from train.speed import Rehearsal
from train.state import list_checkpoints, load_averages, load_weights, read_state

SMALL = (
    "--steps=6", "--save_interval=2", "--keep=9", "--batch_size=4", "--threads=1", "--workers=0",
    "--num_pairs=1", "--eval_size=1", "--sample.steps=1", "--sample_every=100", "--eval_every=100",
    "--num_layers=1", "--style_layers=1", "--num_heads=1", "--head_dim=24", "--head_width=8",
    "--style_dim=16", "--warmup_steps=2",
)  # fmt: skip
Train = Callable[..., Any]


@pytest.fixture
def train(
    sample_data: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Train]:
    """`train("--flag")`: runs the command, returns (exit code, output, errors)."""
    threads = torch.get_num_threads()

    def start(*flags: str) -> tuple[int, str, str]:
        folders = [f"--shards={sample_data.shards}", f"--manifests={sample_data.manifests}"]
        code = 0
        capsys.readouterr()
        try:
            run(main, "prog", [*flags, f"--runs={tmp_path}", *folders], _fields)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return code, *capsys.readouterr()

    yield start
    torch.set_num_threads(threads)


def fresh(train: Train, name: str = "run", *flags: str) -> None:
    code, _, err = train(*SMALL, f"--name={name}", *flags)
    assert code == 0, err


def small_but(*flags: str) -> tuple[str, ...]:
    """The usual flags, but for these."""
    given = {flag.partition("=")[0] for flag in flags}
    return (*(flag for flag in SMALL if flag.partition("=")[0] not in given), *flags)


def drop_last(folder: Path, count: int) -> None:
    """Leaves a run as it was some checkpoints earlier."""
    import shutil

    for path in list_checkpoints(folder / "checkpoints")[-count:]:
        shutil.rmtree(path)


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(list_checkpoints(folder / "checkpoints")[-1])


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_resumed_run_refuses_what_differs_and_force_says_what_it_accepts(
    train: Train, tmp_path: Path
) -> None:
    fresh(train)
    straight = last_weights(tmp_path / "run")
    drop_last(tmp_path / "run", 2)
    code, _, err = train("--name=run", "--resume", "--lr=1e-5")
    assert code == 2
    assert "a resumed run keeps its optim.lr=0.002" in err
    path = tmp_path / "run" / "checkpoints" / "step-000002" / "state.json"
    was = json.loads(path.read_text())["facts"]["code"]
    rewrite(path, lambda fields: fields["facts"].update(code="0" * 64))
    code, _, err = train("--name=run", "--resume")
    assert code == 2
    assert "was made otherwise, so going on would give other weights: code was 0000" in err
    assert f"is {was[:24]}…: restore that, or accept it with --force" in err
    code, out, err = train("--name=run", "--resume", "--force", "--lr=1e-5", "--steps=8")
    assert code == 0, err
    told = [line for line in out.splitlines() if line.startswith("accepted by --force: ")]
    assert [line.split(": ")[1].split(" was")[0] for line in told] == ["code", "optim.lr", "steps"]
    assert "resumed" in out
    assert [p.name for p in list_checkpoints(tmp_path / "run" / "checkpoints")][-1] == "step-000008"
    assert "lr = 1e-05" in (tmp_path / "run" / "config.toml").read_text()
    assert not same(last_weights(tmp_path / "run"), straight)
    drop_last(tmp_path / "run", 1)
    code, out, _ = train("--name=run", "--resume")  # what was accepted is the run's own now
    assert code == 0
    assert "accepted" not in out


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a state, and its hash with it."""
    from train.state import _hash_of

    fields = json.loads(path.read_text())
    del fields["sha256"]
    change(fields)
    fields["sha256"] = _hash_of(fields)
    path.write_text(json.dumps(fields))


def test_a_run_that_finds_its_parts_goes_on_with_them(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh(train, "told", "--gradient_accumulation_steps=2")
    whole = Joint.training_loss

    def hungry(self: Joint, batch: Batch) -> LossOut:
        if len(batch) > 2:
            torch.empty(2**60, dtype=torch.uint8)  # more than any machine has
        return whole(self, batch)

    monkeypatch.setattr(Joint, "training_loss", hungry)
    fresh(train, "found", "--gradient_accumulation_steps=0")
    assert "gradient_accumulation_steps = 2" in (tmp_path / "found" / "config.toml").read_text()
    drop_last(tmp_path / "found", 2)
    code, out, err = train("--name=found", "--resume")
    assert code == 0, err
    assert "out of memory" not in out  # it knows
    assert same(last_weights(tmp_path / "found"), last_weights(tmp_path / "told"))


def test_resumed_averages_are_those_of_the_straight_run(train: Train, tmp_path: Path) -> None:
    flags = ("--sigma_rels=0.05,0.1", "--snapshot_every=3", "--precision=bf16")
    for name in ("straight", "stopped"):
        fresh(train, name, *flags)
    drop_last(tmp_path / "stopped", 2)
    for path in (tmp_path / "stopped" / "ema").iterdir():
        path.unlink()
    code, _, err = train("--name=stopped", "--resume")
    assert code == 0, err
    ends = [list_checkpoints(tmp_path / n / "checkpoints")[-1] for n in ("straight", "stopped")]
    assert same(*map(load_weights, ends))
    assert same(*map(load_averages, ends))
    assert not same(load_averages(ends[0]), {})
    copies = sorted(path.name for path in (tmp_path / "straight" / "ema").iterdir())
    assert copies == ["step-000003.safetensors", "step-000006.safetensors"]
    for name in copies:
        a, b = (tmp_path / n / "ema" / name for n in ("straight", "stopped"))
        assert a.read_bytes() == b.read_bytes()


def test_an_optimizer_without_memory_gives_other_weights(train: Train, tmp_path: Path) -> None:
    fresh(train)
    straight = last_weights(tmp_path / "run")
    drop_last(tmp_path / "run", 1)
    code, out, err = train("--name=run", "--resume", "--no_restore_optimizer")
    assert code == 0, err
    assert "the optimiser begins anew, as --no_restore_optimizer asks" in out
    assert not same(last_weights(tmp_path / "run"), straight)


def test_a_run_begins_with_other_weights_and_counts_on(train: Train, tmp_path: Path) -> None:
    fresh(train)
    begun = last_weights(tmp_path / "run")
    for number, source in enumerate((
        tmp_path / "run", tmp_path / "run" / "checkpoints" / "step-000006",
        tmp_path / "run" / "checkpoints" / "step-000006" / "weights.safetensors",
    )):  # fmt: skip
        flags = ("--steps=8", f"--init_from={source}", "--initial_steps=6")
        code, out, err = train(*SMALL[1:], *flags, f"--name=more{number}")
        assert code == 0, err
        assert "counting from step 6" in out
        records = (tmp_path / f"more{number}" / "log.jsonl").read_text().splitlines()
        assert [r["step"] for r in map(json.loads, records) if "loss" in r] == [7, 8]
    state = read_state(list_checkpoints(tmp_path / "more0" / "checkpoints")[-1], "style_adapter")
    assert state.cursor["position"] == 32
    assert same(last_weights(tmp_path / "more0"), last_weights(tmp_path / "more2"))
    assert not same(last_weights(tmp_path / "more0"), begun)


def test_a_group_at_0_stays_as_it_was(train: Train, tmp_path: Path) -> None:
    fresh(train, "frozen", "--group_lr=matrices:0")
    first, *_, last = (load_weights(p) for p in list_checkpoints(tmp_path / "frozen/checkpoints"))
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert moved
    assert all(first[name].ndim <= 1 for name in moved)


def test_a_rehearsal_keeps_nothing_and_foretells(train: Train, tmp_path: Path) -> None:
    code, out, err = train(*SMALL, "--name=later", "--limit=3")
    assert code == 0, err
    told = re.search(
        r"a rehearsal of 3 steps, nothing is kept; all 6: about 0 min (\d+) s \((.*) s a step, .*"
        r"host memory (.*) GB; checkpoints (.*) MB each, (.*) MB at most",
        out,
    )
    assert told, out
    fresh(train, "later")
    assert train(*SMALL, "--name=later", "--limit=1")[0] == 0  # beside what is there
    run = tmp_path / "later"
    size = sum(p.stat().st_size for p in (run / "checkpoints" / "step-000006").iterdir())
    assert float(told[4]) == pytest.approx(size / 1e6, abs=0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["later"]


def test_where_nothing_is_held_out_pictures_have_to_be_named(train: Train, tmp_path: Path) -> None:
    code, out, err = train(*SMALL, "--name=all", "--where=split='train'")
    assert code == 0, err
    next_one = f"next: python -m train.stylize --run={tmp_path / 'all'}"
    assert out.endswith(f"{next_one} --content=FILE --style=FILE\n")


def test_help_shows_the_preset_that_is_named() -> None:
    (title, usual), (named, tiny) = _fields([], {}), _fields([], {"config": "tiny"})
    assert (title, named) == tuple(
        f"fields of style_adapter, --config={name} (--group.field=value):"
        for name in ("smoke", "tiny")
    )
    assert "backbone=tiny" in tiny["method_config.backbone"]
    assert "backbone=tiny" not in usual["method_config.backbone"]
    assert usual.keys() == tiny.keys()


def test_time_is_foretold_from_the_medians(tmp_path: Path) -> None:
    rehearsal, folder = Rehearsal(), tmp_path / "step-000003"
    folder.mkdir()
    (folder / "state.json").write_bytes(bytes(2_000_000))
    parts = {"step": (9.0, 2.0, 2.0), "look": (30.0,), "checkpoint": (5.0,)}
    for part, seconds in parts.items():
        for value in seconds:
            rehearsal.add(part, value)
    settings = RunConfig(
        steps=1000, checkpoint=CheckpointConfig(100, keep=2, keep_every=500),
        sample=SampleConfig(sample_every=100),
    )  # fmt: skip
    told = rehearsal.forecast(settings, tmp_path, 3)
    seconds = 1000 * 2 + (10 + 2) * 30 + (10 + 1) * 5
    assert f"all 1000: about {seconds // 60} min {seconds % 60} s (2.000 s a step" in told
    assert "checkpoints 2.0 MB each, 8 MB at most" in told


def test_prompts_take_the_place_of_captions_in_the_pictures_only(
    train: Train, tmp_path: Path
) -> None:
    fresh(train, "own")
    fresh(train, "asked", "--sample_prompts=a dog; a cat")
    assert same(last_weights(tmp_path / "own"), last_weights(tmp_path / "asked"))
    grids = [(tmp_path / n / "samples" / "step-000006.png").read_bytes() for n in ("own", "asked")]
    assert grids[0] != grids[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--method_config.net.image_size=65",), "image_size=65: takes a multiple of 8"),
        (("--epochs=1",), "--steps and --epochs both say how long: keep one"),
        (("--memory_limit=2",), "--memory_limit=2.0: takes a share above 0, or 1 for no limit"),
        (("--limit=0",), "--limit=0: takes 1 or more"),
        (("--limit=1", "--overwrite"), "--limit keeps nothing: leave --resume and --overwrite"),
        (("--group_lr=gate:1",), "no group 'gate'; it has matrices, vectors, gates"),
        (("--init_from=nowhere",), "--init_from=nowhere: name the folder of a run or of a check"),
        (("--sigma_rels=0.5",), "--ema.sigma_rels: takes numbers above 0 and below 0.28"),
        (("--precision=fp8",), "precision"),
        (("--no_restore_optimizer",), "--force and --no_restore_optimizer go with --resume"),
    ],
)
def test_what_cannot_work_is_one_line(flags: tuple[str, ...], message: str, train: Train) -> None:
    code, _, err = train(*SMALL, "--name=wrong", *flags)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_start_that_fails_leaves_everything_as_it_was(train: Train, tmp_path: Path) -> None:
    fresh(train)
    run = tmp_path / "run"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, _, err = train(*SMALL, "--name=run", "--overwrite", "--init_from=nosuch")
    assert (code, "name the folder of a run" in err) == (2, True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    code, _, err = train(*SMALL, "--name=run", "--overwrite", f"--init_from={run}")
    assert (code, "lies in the run that --overwrite deletes" in err) == (2, True)
    code, _, err = train(*SMALL, "--name=typo", "--init_from=nosuch")
    assert code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    killed = run / ".before"  # as a start leaves it that is killed before its first step
    killed.mkdir()
    for path in [p for p in run.iterdir() if p != killed]:
        path.rename(killed / path.name)
    (run / "config.toml").write_text("")
    code, _, err = train(*SMALL, "--name=run", "--overwrite", "--init_from=nosuch")
    assert code == 2
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    fresh(train, "run", "--overwrite", "--seed=3")
    assert not (run / ".before").exists()
    assert (run / "config.toml").read_bytes() != before[run / "config.toml"]


def test_checkpoints_to_keep_are_written_where_no_interval_asks_for_them(
    train: Train, tmp_path: Path
) -> None:
    flags = ("--save_interval=5", "--keep=1", "--keep_every=4")
    code, _, err = train(*small_but(*flags), "--name=run")
    assert code == 0, err
    found = list_checkpoints(tmp_path / "run" / "checkpoints")
    assert [path.name for path in found] == ["step-000004", "step-000006"]


def test_a_damaged_optimizer_can_be_left_behind(train: Train, tmp_path: Path) -> None:
    fresh(train)
    last = list_checkpoints(tmp_path / "run" / "checkpoints")[-2]
    drop_last(tmp_path / "run", 1)
    (last / "optimizer.safetensors").write_bytes(b"")
    code, _, err = train("--name=run", "--resume")
    assert (code, "was changed: delete" in err) == (2, True)
    assert "and --resume goes on from step-000002" in err
    code, out, err = train("--name=run", "--resume", "--no_restore_optimizer")
    assert code == 0, err
    assert "the optimiser begins anew" in out


def test_a_checkpoint_without_its_state_is_passed_over_aloud(train: Train, tmp_path: Path) -> None:
    fresh(train)
    last = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    (last / "state.json").unlink()
    code, out, _ = train("--name=run", "--resume")
    assert code == 0
    assert f"{last} has no state.json and is passed over" in out
    (tmp_path / "run" / "config.toml").unlink()
    code, _, err = train("--name=run", "--resume")
    assert (code, "config.toml is gone: put it back" in err) == (2, True)


def test_a_warm_up_longer_than_the_run_is_told(train: Train) -> None:
    code, out, err = train(*small_but("--warmup_steps=12", "--schedule=constant"), "--limit=1")
    assert code == 0, err
    assert "the warm-up of 12 steps outlasts the run: the rate goes up to 0.001 of 0.002" in out


def test_another_memory_layout_is_stored_and_resumed_as_any(train: Train, tmp_path: Path) -> None:
    flags = ("--channels_last", "--sigma_rels=0.1", "--snapshot_every=2", "--update_every=1")
    for name in ("straight", "stopped"):
        fresh(train, name, *flags)
    drop_last(tmp_path / "stopped", 2)
    code, _, err = train("--name=stopped", "--resume")
    assert code == 0, err
    ends = [
        list_checkpoints(tmp_path / name / "checkpoints")[-1] for name in ("straight", "stopped")
    ]
    for file in ("weights", "optimizer", "ema"):
        ours, theirs = ((end / f"{file}.safetensors").read_bytes() for end in ends)
        assert ours == theirs, file
    copies = [sorted((tmp_path / name / "ema").iterdir()) for name in ("straight", "stopped")]
    assert [p.read_bytes() for p in copies[0]] == [p.read_bytes() for p in copies[1]]
    plain = tmp_path / "straight" / "config.toml"
    assert {p.stat().st_mode for p in copies[0]} == {plain.stat().st_mode}
