"""Checkpoints: whole or absent, refused when they were touched, exact when they come back."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from toolkit.core.errors import UserError
from train.state import (
    TrainState,
    latest_checkpoint,
    list_checkpoints,
    load_optimizer,
    load_weights,
    optimizer_tensors,
    read_state,
    save_checkpoint,
)


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


def optimizer_of(net: torch.nn.Module) -> torch.optim.AdamW:
    weights = [p for p in net.parameters() if p.ndim > 1]
    biases = [p for p in net.parameters() if p.ndim == 1]
    return torch.optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0.0}], lr=0.1)


def step(net: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()


def save(folder: Path, number: int, net=None, optimizer=None, keep: int = 2) -> Path:
    net = net or model()
    if optimizer is None:
        optimizer = optimizer_of(net)
        step(net, optimizer, 0)
    state = TrainState("toy", number, {"position": number * 4}, {"optim.lr": "0.1"})
    tensors = optimizer_tensors(optimizer)
    return save_checkpoint(folder, state, net.state_dict(), tensors, keep)


def test_going_on_from_a_checkpoint_equals_never_having_stopped(tmp_path: Path) -> None:
    net = model()
    optimizer = optimizer_of(net)
    for seed in range(3):
        step(net, optimizer, seed)
    path = save(tmp_path, 3, net, optimizer)
    for seed in range(3, 6):
        step(net, optimizer, seed)

    again = model()
    other = optimizer_of(again)
    state = read_state(path, "toy")
    again.load_state_dict(load_weights(path))
    load_optimizer(path, other)
    assert (state.step, state.cursor) == (3, {"position": 12})
    for seed in range(3, 6):
        step(again, other, seed)
    for a, b in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    for number in (1, 2, 3, 10):
        save(tmp_path, number)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-000003", "step-000010"]
    assert latest_checkpoint(tmp_path).name == "step-000010"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000003", "step-000010"]


def test_no_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the run .*none has no checkpoint yet.*--name=none --res"):
        latest_checkpoint(tmp_path / "none" / "checkpoints")


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors"])
def test_a_flipped_byte_is_refused(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 1)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name} is missing or was changed"):
        read_state(path, "toy")


def test_a_damaged_checkpoint_says_from_which_one_to_go_on(tmp_path: Path) -> None:
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    for path in (first, second):
        (path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"delete .*2, and --resume goes on from step-000001"):
        read_state(second, "toy")
    with pytest.raises(UserError, match="none before it, so restore it, or train anew"):
        read_state(first, "toy")


def test_all_files_of_a_checkpoint_can_be_read_by_the_same_people(tmp_path: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in save(tmp_path, 1).iterdir()}
    assert len(modes) == 1


def test_another_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is of the method toy, not ot_cfm"):
        read_state(save(tmp_path, 1), "ot_cfm")


@pytest.mark.parametrize("text", ["{", "[]", '{"step": 1}', json.dumps({"files": {}, "a": 1})])
def test_damaged_json_is_refused(tmp_path: Path, text: str) -> None:
    path = save(tmp_path, 1)
    (path / "state.json").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        read_state(path, "toy")


def test_a_foreign_pickle_is_never_run(tmp_path: Path) -> None:
    """A pickle that would create a file when it is loaded, in the place of the weights."""
    import pickle

    flag = tmp_path / "executed"

    class Attack:
        def __reduce__(self):
            return (Path.touch, (flag,))

    path = save(tmp_path, 1)
    (path / "weights.safetensors").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(UserError, match="damaged"):
        load_weights(path)
    with pytest.raises(UserError, match="changed"):
        read_state(path, "toy")
    assert not flag.exists()


def test_an_optimizer_of_another_network_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    other = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="another network"):
        load_optimizer(path, torch.optim.AdamW(other.parameters()))


def test_a_failed_write_leaves_the_earlier_checkpoint(tmp_path: Path, monkeypatch) -> None:
    save(tmp_path, 1)
    before = {p.name: p.read_bytes() for p in (tmp_path / "step-000001").iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("train.state.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        save(tmp_path, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "step-000001").iterdir()} == before


def test_a_half_written_folder_does_not_count(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    shutil.copytree(path, tmp_path / "step-000002")
    (tmp_path / "step-000002" / "state.json").unlink()
    assert latest_checkpoint(tmp_path) == path
