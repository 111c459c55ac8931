"""Training `ot_cfm` against a straightforward implementation of the same network.

    python -m bench.flow [--weights=FOLDER] [--steps=8] [--rounds=5] [--folder=/tmp/tessera-bench]

Theirs is `bench.plain_flow`: loose `.pt` files, torch's DataLoader as it comes, eager, contiguous.
Ours is a run's own loop, streaming from the shards' sidecar, in float32 and with
`--precision=bf16`; theirs works in float32. Both have the same weights to begin with, as the equal
outputs show, and batches of 48. Latents are of the sample data at
128 pixels: those of FLUX.2's tiny autoencoder where its weights are given (32 × 16 × 16), wavelets
otherwise (192 × 16 × 16).
"""

import contextlib
import io
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fire
import torch

from bench.order import sample_data
from bench.plain_flow import Folder, Net, Trainer
from bench.timing import machine, pairs, summary, write_results

BATCH, WIDTH, DEPTH, EXPANSION, COND = 48, 192, 8, 3, 192


def main(
    weights: str = "", steps: int = 8, rounds: int = 5, folder: str = "/tmp/tessera-bench"
) -> None:
    """Measures and keeps bench/results/flow.json."""
    from toolkit.store.layout import Layout

    about = machine()  # before it is busy
    data = sample_data(Path(folder) / "flow")
    layout = Layout(data / "s", data / "m")
    sidecar = encoded(layout, weights)
    loose = _exported(layout, sidecar, data / "loose")
    parts = [_measured(layout, sidecar, loose, p, steps, rounds) for p in ("fp32", "bf16")]
    shape = list(next(iter(Folder(loose)))[0].shape)
    about = {**about, "threads": torch.get_num_threads(), "latent": shape, "batch": BATCH}
    write_results("flow", about, [row for rows in parts for row in rows])


def _measured(
    layout: Any, sidecar: str, loose: Path, precision: str, steps: int, rounds: int
) -> list[dict[str, Any]]:
    from train.data import facts_of_data, open_data, open_loader
    from train.guard import Feed
    from train.loop import train
    from train.numerics import open_numerics
    from train.optim import build_optimizer
    from train.runs import build_method, needs_of, settled

    settings = run_settings(sidecar, BATCH, precision=precision)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        chosen = open_data(settings.data, needs_of(settings), layout)
        settings = settled(settings, facts_of_data(chosen))
        method, numerics = build_method(settings), open_numerics(settings)
        loader = stack.enter_context(open_loader(settings, chosen, needs_of(settings), layout))
        feed = Feed(loader)
        method.calibrate(iter(loader))
        ours_net = method.module().to(memory_format=torch.channels_last)
        theirs = _theirs(ours_net, Folder(loose))
        optimizer = build_optimizer(settings.optim, method.param_groups())

        def ours_s() -> float:
            start = time.perf_counter()
            train(method, optimizer, feed, settings.optim, numerics, 0, steps, lambda _: True)
            return time.perf_counter() - start

        def theirs_s() -> float:
            start = time.perf_counter()
            for _ in range(steps):
                theirs.step()
            return time.perf_counter() - start

        error = _difference(ours_net, theirs.net)
        found = pairs(ours_s, theirs_s, rounds)
    name = f"training in {precision}, samples: loose files, contiguous, eager, fp32"
    return [
        {"name": "largest difference of the two networks' outputs", "value": error},
        summary(name, found, steps * BATCH),
    ]


def run_settings(sidecar: str, batch_size: int, **more: Any) -> Any:
    """The configuration of the run that is measured."""
    from train.settings import fresh_config

    net = {"hidden_dim": WIDTH, "num_layers": DEPTH, "expansion": EXPANSION, "style_dim": COND,
           "time_dim": COND}  # fmt: skip
    flags = {
        "data.mix": "content:1,wikiart:1", "data.batch_size": batch_size, "channels_last": True,
        "method_config.sidecar": sidecar, "method_config.labels": "task",
        **{f"method_config.net.{name}": value for name, value in net.items()},
    }  # fmt: skip
    return fresh_config("ot_cfm", "smoke", {**flags, **more})


def encoded(layout: Any, weights: str) -> str:
    """Encodes the sample data at 128 pixels; returns the sidecar's name."""
    sidecar = "taef2-128" if weights else "haar-128"
    encoder = ["--encoder=taef2", f"--weights={weights}"] if weights else ["--encoder=haar"]
    query = "dataset='content' or dataset='wikiart'"
    _toolkit_encode(layout, query, *encoder, "--target_size=128", f"--sidecar={sidecar}")
    return sidecar


def _exported(layout: Any, sidecar: str, loose: Path) -> Path:
    """What is trained on, as a folder of loose files for each dataset."""
    folder = loose / sidecar
    shutil.rmtree(folder, ignore_errors=True)
    for dataset in ("content", "wikiart"):
        query = f"dataset='{dataset}' and split='train'"
        out = f"--export_folder={folder / dataset}"
        _toolkit_encode(layout, query, f"--sidecar={sidecar}", out)
    return folder


def _toolkit_encode(layout: Any, *words: str) -> None:
    places = [f"--shards={layout.shards}", f"--manifests={layout.manifests}"]
    command = [sys.executable, "-m", "toolkit.encode", *words, *places]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _theirs(net: Any, data: Folder) -> Trainer:
    """The same weights in plain modules; random ones, since some begin at 0."""
    generator = torch.Generator().manual_seed(1)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, 0, 0.02, generator)
    plain = Net(net.mean.shape[0], WIDTH, DEPTH, EXPANSION, COND, net.num_styles)
    given = {
        name: value.reshape(plain.state_dict()[name].shape).contiguous()
        for name, value in net.state_dict().items()
        if name not in ("mean", "std")
    }
    plain.load_state_dict(given)
    return Trainer(plain, data, BATCH, net.mean.clone(), net.std.clone())


@torch.no_grad()
def _difference(ours: Any, theirs: Net) -> float:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, ours.mean.shape[0], 16, 16, generator=generator)
    t, style = torch.rand(4, generator=generator), torch.tensor([0, 1, 2, 0])
    found = ours(x.contiguous(memory_format=torch.channels_last), t, style) - theirs(x, t, style)
    return float(found.abs().max())


if __name__ == "__main__":
    fire.Fire(main)
