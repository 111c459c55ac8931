"""Training a style adapter beside a PixArt-alpha of full size, beside a plain diffusers loop.

    python -m bench.adapter [--batches=1,4] [--steps=40] [--rounds=3] [--device=cuda]
        [--folder=/tmp/tessera-bench] [--backbone=DIR]

512 pixels, K = 4, four tokens, content_path=sdedit; what the frozen encoders would make is drawn at
random and held in memory on both sides. Theirs is `bench.plain_adapter`; ours the loop of
`train.run`, as it comes and compiled. Each is a process of its own, by turns. Without --backbone,
random weights of full size are written first (1.3 GB). --small is a rehearsal on a CPU.
"""

import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fire
import torch

from bench.timing import in_process, machine, write_results

WAYS = ("ours", "compiled")
LAYERS, TOKENS, DIM, TEXT = 4, 4, 1024, 120


def main(
    batches: tuple[int, ...] | int = (1, 4), steps: int = 40, rounds: int = 3,
    device: str = "cuda", precision: str = "bf16", checkpointing: bool = True,
    ways: tuple[str, ...] | str = WAYS, backbone: str = "", small: bool = False,
    folder: str = "/tmp/tessera-bench", keep: str = "adapter",
) -> None:  # fmt: skip
    """Measures and keeps bench/results/KEEP.json.

    Args:
        batches: sizes of a batch.
        steps: that are counted, behind as many that are not.
        rounds: processes of each way, by turns.
        device, precision: of the arithmetic.
        checkpointing: of activations, on both sides.
        ways: of ours: ours, compiled.
        backbone: folder of PixArt-alpha's weights.
        small: a network of two blocks instead, for a rehearsal.
        folder: for the random weights.
        keep: name of the results, empty for none.
    """
    about = machine()
    place = Path(backbone) if backbone else _random(Path(folder), small)
    rows = []
    for batch in batches if isinstance(batches, tuple) else (batches,):
        task = {"backbone": str(place), "batch": batch, "steps": steps, "device": device,
                "precision": precision, "checkpointing": checkpointing}  # fmt: skip
        chosen = ["plain", *([ways] if isinstance(ways, str) else ways)]
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in chosen}
        for number in range(rounds):
            for way in chosen if number % 2 == 0 else chosen[::-1]:
                asked = json.dumps({**task, "way": way})
                found[way].append(in_process("bench.adapter", "one", asked))
        rows += [_row(way, batch, found) for way in chosen]
    about |= {"device": found["plain"][0]["device_name"], "precision": precision,
              "checkpointing": checkpointing, "random_weights": not backbone}  # fmt: skip
    write_results(keep, about, rows)


def _row(way: str, batch: int, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    ratios = sorted(
        ours["steps_per_s"] / theirs["steps_per_s"]
        for ours, theirs in zip(found[way], found["plain"], strict=True)
    )
    rate = statistics.median(r["steps_per_s"] for r in found[way])
    last = found[way][-1]
    return {
        "name": way, "batch": batch, "steps_per_s": round(rate, 3),
        "faster": round(statistics.median(ratios), 3),
        "range": [round(ratios[0], 3), round(ratios[-1], 3)],
        "memory_gb": max(r["memory_gb"] for r in found[way]),
        "share_of_limit": round(rate * last["flops_per_step"] / last["flops_per_s"], 3),
    }  # fmt: skip


def one(task: str) -> None:
    """One measurement: started by `main`, not by hand."""
    from torch.utils.flop_counter import FlopCounterMode

    asked = json.loads(task)
    cuda = asked["device"].startswith("cuda")
    module, step = _plain(asked) if asked["way"] == "plain" else _ours(asked)
    step(2)
    with FlopCounterMode(display=False) as counter:
        step(1)
    if asked["way"] == "compiled":
        module.compile()
    step(asked["steps"])
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    step(asked["steps"])
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    print(json.dumps({
        "steps_per_s": asked["steps"] / seconds,
        "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else 0.0,
        "flops_per_step": counter.get_total_flops(), "flops_per_s": _limit(asked),
        "device_name": torch.cuda.get_device_name() if cuda else "cpu",
    }))  # fmt: skip


def _limit(asked: dict[str, Any]) -> float:
    """Floating-point operations a second of one large product, in the run's precision."""
    side = 8192 if asked["device"].startswith("cuda") else 1024
    a, b = (torch.randn(side, side, device=asked["device"], dtype=_dtype(asked)) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        (a @ b).sum().item()
        best = min(best, time.perf_counter() - start)
    return float(2 * side**3 / best)


def _plain(asked: dict[str, Any]) -> Any:
    from bench.plain_adapter import Trainer

    how = {"device": asked["device"], "precision": _dtype(asked),
           "checkpointing": asked["checkpointing"]}  # fmt: skip
    trainer = Trainer(Path(asked["backbone"]), LAYERS, TOKENS, DIM, how)
    rows = (
        {"latent": d["latent"], "text": d["text"], "mask": d["mask"].float(), "style": d["style"]}
        for d in _drawn(asked)
    )
    return trainer.model, lambda count: [trainer.step(rows) for _ in range(count)]


def _ours(asked: dict[str, Any]) -> Any:
    from toolkit.stream.batch import Batch
    from train.config import RunConfig
    from train.loop import train
    from train.methods.style_adapter.config import AdapterConfig, Config
    from train.numerics import enable_gradient_checkpointing, open_numerics, place
    from train.optim import build_optimizer
    from train.runs import build_method

    config = Config(
        backbone=asked["backbone"], content_path="sdedit", objective="iddpm_vb",
        embedding_dim=DIM, proxy_dim=DIM, image_size=512, adapter=AdapterConfig(LAYERS, TOKENS),
        encoders=json.dumps({"latent": {"scaling_factor": 0.18215, "shift_factor": 0.0}}),
    )  # fmt: skip
    settings = RunConfig(device=asked["device"], precision=asked["precision"], method_config=config)
    method, numerics = build_method(settings), open_numerics(settings)
    if asked["checkpointing"]:
        enable_gradient_checkpointing(method.module())
    place(method.module(), settings, numerics)
    optimizer = build_optimizer(settings.optim, method.param_groups())

    def batches() -> Iterator[Batch]:
        for number, d in enumerate(_drawn(asked)):
            size = len(d["latent"])
            there = torch.ones(size, dtype=torch.bool)
            yield Batch(
                tasks=("main",), task=torch.zeros(size, dtype=torch.int64), images={},
                keys=("",) * size, captions=("",) * size, style_names=(None,) * size,
                weights=torch.ones(size), sample_seed=torch.arange(size) + 1000 * number,
                features={"latent": (d["latent"], there), "text": (d["text"], d["mask"]),
                          "style": (d["style"], there), "proxy": (d["proxy"], there)},
            )  # fmt: skip

    source = batches()
    how = replace(settings.optim, schedule="constant")

    def run(count: int) -> None:
        train(method, optimizer, source, how, numerics, 0, count, lambda _: True)

    return method.module(), run


def _drawn(asked: dict[str, Any]) -> Iterator[dict[str, torch.Tensor]]:
    """Batches that come round again, as the sidecars of full-size encoders would give them."""
    config = json.loads((Path(asked["backbone"]) / "transformer/config.json").read_text())
    generator, size, side = torch.Generator().manual_seed(0), asked["batch"], config["sample_size"]
    pool = []
    for _ in range(8):
        lengths = torch.randint(8, 28, (size,), generator=generator)
        latent = torch.randn(size, 8, side, side, generator=generator)
        latent[:, 4:] = -6
        pool.append({
            "latent": latent, "mask": torch.arange(TEXT)[None] < lengths[:, None],
            "text": torch.randn(size, TEXT, config["caption_channels"], generator=generator),
            "style": torch.randn(size, DIM, generator=generator),
            "proxy": torch.randn(size, DIM, generator=generator),
        })  # fmt: skip
    return itertools.cycle(pool)


def _dtype(asked: dict[str, Any]) -> torch.dtype:
    known = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    return known[asked["precision"]]


def _random(folder: Path, small: bool) -> Path:
    """Random weights in the hub's layout, unless they are there."""
    from diffusers import DPMSolverMultistepScheduler, PixArtTransformer2DModel

    out = folder / ("pixart-small" if small else "pixart")
    if (out / "scheduler").is_dir():
        return out
    torch.manual_seed(0)
    blocks, heads, head_dim, text, side = (4, 4, 16, 64, 16) if small else (28, 16, 72, 4096, 64)
    model: Any = PixArtTransformer2DModel(
        sample_size=side, num_layers=blocks, num_attention_heads=heads,
        attention_head_dim=head_dim, cross_attention_dim=heads * head_dim, in_channels=4,
        out_channels=8, patch_size=2, caption_channels=text, use_additional_conditions=False,
    )  # fmt: skip
    model.half().save_pretrained(out / "transformer")
    scheduler: Any = DPMSolverMultistepScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear"
    )
    scheduler.save_pretrained(out / "scheduler")
    return out


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(sys.argv[2])
    else:
        fire.Fire(main)
