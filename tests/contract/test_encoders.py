"""What every encoder must do; they are found by file name, and run on tiny twins."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.twins import TWINS
from toolkit.core.errors import UserError
from toolkit.encoders.api import encoder_module, encoders, open_encoder

ROOT = Path(__file__).resolve().parents[2]
NAMES = encoders()
Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opener:
    root, known = tmp_path_factory.mktemp("twins"), dict[str, str | None]()

    def start(name: str, *args: Any, **more: Any) -> Any:
        if name not in known:
            known[name] = str(TWINS[name](root / name)) if name in TWINS else None
        return open_encoder(name, known[name], *args, **more)

    return start


def inputs_of(name: str, encoder: Any) -> Any:
    if encoder_module(name).READS == "caption":
        return ["a red cat", "", "two dogs on the street of a house"]
    side = 4 * encoder.multiple
    rng = np.random.Generator(np.random.Philox(9))
    return torch.from_numpy(rng.integers(0, 256, (3, 3, side, side), np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_one_a_sample_and_do_not_depend_on_the_batch(name: str, opened: Opener) -> None:
    outputs = encoder_module(name).OUTPUTS
    encoder = opened(name, outputs=outputs)
    inputs = inputs_of(name, encoder)
    found = encoder.encode(inputs)
    assert tuple(found) == tuple(outputs)
    for number in range(3):
        alone = encoder.encode(inputs[number : number + 1])
        for output in outputs:
            torch.testing.assert_close(alone[output][0], found[output][number])
            assert found[output][number].isfinite().all()
    assert tuple(opened(name).encode(inputs)) == (outputs[0],)


@pytest.mark.parametrize("name", NAMES)
def test_the_identity_names_encoder_weights_and_precision(name: str, opened: Opener) -> None:
    identity = json.loads(json.dumps(dict(opened(name).identity)))
    assert identity["encoder"] == name
    assert {"weights", "precision"} <= set(identity)
    assert identity == dict(opened(name).identity)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_other_weights_are_another_identity(name: str, opened: Opener, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = TWINS[name](tmp_path / "twin")
    root = folder.parent if folder.name == "text_encoder" else folder
    path = max(root.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    tensors = load_file(path)
    for tensor in tensors.values():  # by a little
        if tensor.is_floating_point() and tensor.numel():
            tensor.view(-1)[0] += 1
    save_file(tensors, path, {"format": "pt"})
    changed = open_encoder(name, str(folder)).identity
    assert changed["weights"] != opened(name).identity["weights"]


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_near(name: str, opened: Opener) -> None:
    full, half = opened(name), opened(name, "cpu", "bf16")
    inputs = inputs_of(name, full)
    output = encoder_module(name).OUTPUTS[0]
    for exact, near in zip(full.encode(inputs)[output], half.encode(inputs)[output], strict=True):
        spread = float(exact.float().std())
        torch.testing.assert_close(near.float(), exact.float(), atol=0.1 * spread, rtol=0.1)


def test_wrong_names_are_one_line(opened: Opener) -> None:
    with pytest.raises(UserError, match="there is no encoder 'vae': choose one of autoencoder_kl"):
        open_encoder("vae")
    with pytest.raises(UserError, match="haar has no output 'tokens': choose from latent"):
        open_encoder("haar", outputs=("tokens",))
    with pytest.raises(UserError, match="precision=int8: choose auto, fp32, bf16, fp16"):
        opened("taef2", "cpu", "int8")
    with pytest.raises(UserError, match="there is no such folder; give a folder, or a hub id"):
        open_encoder("taef2", "./nowhere")


def test_missing_weights_are_one_line_with_the_command_and_the_size() -> None:
    """In a process of its own, which the hub's library is told to keep offline."""
    names = [name for name in NAMES if name not in ("haar", "rgb")]
    program = f"""
from toolkit.core.errors import UserError
from toolkit.encoders.api import open_encoder
for name in {names}:
    try:
        open_encoder(name)
    except UserError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(names)
    for name, line in zip(names, lines, strict=True):
        default = encoder_module(name).DEFAULT
        assert default.size in line
        assert f"hf download {'/'.join(default.hub_id.split('/')[:2])}" in line
        assert "--weights=DIR" in line
