"""Is the memory what `train.run --plan` says? Presets are run for real, and measured.

    python -m bench.plan [--presets=style_adapter/tiny,pixel_sdxl/smoke] [--device=cpu]

Each preset, in a process of its own: what is predicted from its configuration, and then its method
with random weights of full size, a batch as the plan assumes it, a step to begin with and one that
counts. On the CPU, torch's profiler reports what its allocator hands out and gets back: the largest
sum, upon what was live before. On a GPU it is `torch.cuda.max_memory_allocated`. Pictures are not
drawn, so what they load is not there. Presets that need more than the machine has are told.
"""

import gc
import json
import os
import sys
import time
from dataclasses import replace
from typing import Any

import fire

from bench.timing import in_process, machine, write_results

ALL = ("style_adapter/smoke", "style_adapter/tiny", "style_adapter/3090", "style_adapter/h100",
       "ot_cfm/smoke", "ot_cfm/cpu", "ot_cfm/8gb", "ot_cfm/12gb", "ot_cfm/16gb",
       "dreambooth_lora/smoke", "dreambooth_lora/baseline", "dreambooth_lora/safe",
       "dreambooth_lora/aggressive", "dreambooth_lora/backbone", "pixel_sdxl/smoke",
       "pixel_sdxl/source-example", "pixel_sdxl/source-example-distil",
       "pixel_sdxl/source-experimental-tune")  # fmt: skip
SPARE = 1 << 31  # bytes of the machine for all else


def main(presets: str = ",".join(ALL), device: str = "cpu", keep: bool = True) -> None:
    """Measures and keeps bench/results/plan.json, or plan-cuda.json."""
    names = presets.split(",") if isinstance(presets, str) else presets  # fire makes tuples
    rows = []
    for name in names:
        row = in_process("bench.plan", "predict", name, device)
        if row["predicted GB"] * 1e9 + SPARE > _memory(device):
            rows.append({**row, "measured GB": "more than there is here"})
            continue
        row |= in_process("bench.plan", "measure", name, device)
        row["ratio"] = round(row["predicted GB"] / row["measured GB"], 3)
        rows.append(row)
        print(json.dumps(row), flush=True)
    results = ("plan" if device == "cpu" else f"plan-{device}") if keep else ""
    write_results(results, {**machine(), "device": device}, rows)


def _memory(device: str) -> int:
    if device == "cpu":
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def _settings(name: str, device: str) -> Any:
    from train.settings import fresh_config

    method, preset = name.split("/")
    changes = {"device": device, "sample.sample_every": "0", "sample.eval_size": "1",
               "compile": "false", "threads": "2"}  # fmt: skip
    if device == "cpu":
        changes["optim.optimizer"] = "adamw"
    return fresh_config(method, preset, changes)


def predict(name: str, device: str) -> None:
    """Prints what the plan says: started by `main`."""
    from train.planning.forecast import forecast

    start = time.monotonic()
    found = forecast(_settings(name, device))
    print(json.dumps({
        "name": name, "predicted GB": round(found.peaks.step / 1e9, 3),
        "seconds to plan": round(time.monotonic() - start, 1),
    }))  # fmt: skip


def measure(name: str, device: str) -> None:
    """Prints what a step takes: started by `main`."""
    import torch

    from bench.random_models import with_random_models
    from train.accumulate import backward
    from train.methods.needs import DataFacts
    from train.numerics import enable_gradient_checkpointing, open_numerics, place
    from train.optim import build_optimizer, regrouped, with_rates
    from train.planning.example import assumed, batch_of
    from train.runs import build_method, needs_of, settled

    with with_random_models(_settings(name, device)) as given:
        facts: DataFacts = assumed(given)
        settings = settled(given, facts)
        method, numerics = build_method(settings), open_numerics(settings)
        groups = with_rates(settings.optim, method.param_groups())
        if settings.optim.gradient_checkpointing:
            enable_gradient_checkpointing(method.module())
        place(method.module(), settings, numerics)
        groups = regrouped(groups, method.param_groups())
        optimizer = build_optimizer(settings.optim, groups)
        count = settings.data.batch_size
        batch = batch_of(settings, facts, needs_of(settings).roles, count, "cpu")
        batch = replace(batch, images=dict(batch.images))
        parameters = [p for group in groups for p in group["params"]]
        parts = max(settings.optim.gradient_accumulation_steps, 1)
        method.module().train()

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            backward(method, batch, numerics, parts)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=False)
            optimizer.step()

        step()
        peak = _peak_on_cpu(step) if device == "cpu" else _peak_on_gpu(step)
    print(json.dumps({"measured GB": round(peak / 1e9, 3)}))


def _peak_on_gpu(step: Any) -> int:
    import torch

    torch.cuda.reset_peak_memory_stats()
    step()
    return int(torch.cuda.max_memory_allocated())


def _peak_on_cpu(step: Any) -> int:
    from torch.profiler import ProfilerActivity, profile

    before = _live()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    now = most = 0
    for event in found.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return before + most


def _live() -> int:
    """Bytes of all tensors."""
    import torch

    gc.collect()
    found = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


if __name__ == "__main__":
    if sys.argv[1:2] in (["predict"], ["measure"]):
        (predict if sys.argv[1] == "predict" else measure)(*sys.argv[2:4])
    else:
        fire.Fire(main)
