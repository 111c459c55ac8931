"""The training loop against forward, backward and optimiser alone, on the same batches.

    python -m bench.loop [--steps=30] [--rounds=5] [--folder=/tmp/tessera-bench]

Ours trains, watches memory, tracks speed and logs, as a run does, on batches from memory, and then
streaming and decoding them; the limit takes them from memory and does nothing but loss, gradients,
clipping and AdamW. On a CPU, decoding takes the cores that train. Overhead is the share of a
streaming run's time that is not spent in loss, gradients, clipping or AdamW. The preset is `smoke`
of style_adapter, on the sample data.
"""

import contextlib
import io
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import fire
import torch

from bench.order import sample_data
from bench.timing import machine, pairs, summary, write_results


def main(steps: int = 30, rounds: int = 5, folder: str = "/tmp/tessera-bench") -> None:
    """Measures and keeps bench/results/loop.json."""
    from toolkit.store.layout import Layout
    from train.config import RunConfig
    from train.data import open_data, open_loader
    from train.guard import Feed, Guard
    from train.log import RunLog
    from train.loop import StepResult, train
    from train.numerics import open_numerics
    from train.optim import build_optimizer, with_rates
    from train.runs import build_method, needs_of
    from train.settings import fresh_config

    root = Path(folder) / "loop"
    data = sample_data(root)
    settings: RunConfig = fresh_config("style_adapter", "smoke", {})
    layout = Layout(data / "s", data / "m")
    needs = needs_of(settings)
    chosen = open_data(settings.data, needs, layout)
    numerics, method = open_numerics(settings), build_method(settings)
    optimizer = build_optimizer(settings.optim, with_rates(settings.optim, method.param_groups()))
    shares: list[tuple[float, float]] = []  # of a streaming run: waiting, overhead
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        loader = stack.enter_context(open_loader(settings, chosen, needs, layout))
        batches = list(islice(iter(loader), steps))
        begin = {**loader.state_dict(), "position": 0}

        def ours(streams: bool) -> float:
            shutil.rmtree(root / "log", ignore_errors=True)
            (root / "log").mkdir()
            log = RunLog(root / "log" / "log.jsonl", root / "log" / "board", 0)
            loader.load_state_dict(begin)
            feed = Feed(loader)
            guard, results = Guard(1.0, feed, "cpu"), list[StepResult]()
            source = feed if streams else iter(batches)

            def after_step(result: StepResult) -> bool:
                results.append(result)
                log.write(result.step, loss=result.loss, lr=result.rate, **result.logs)
                return not guard.stops()

            with _work_timed(method, optimizer) as seconds:
                start = time.perf_counter()
                train(method, optimizer, source, settings.optim, numerics, 0, steps, after_step)
                spent = time.perf_counter() - start
            log.close()
            if streams:
                shares.append(_shares(results, seconds))
            return spent

        def limit() -> float:
            return _bare(method, optimizer, batches)

        memory = pairs(partial(ours, False), limit, rounds)
        streamed = pairs(partial(ours, True), limit, rounds)
    waited, overheads = ([share[n] for share in shares] for n in (0, 1))
    rows: list[dict[str, Any]] = [
        summary("steps from memory: loss, gradients, AdamW alone", memory, steps),
        summary("steps from the stream: loss, gradients, AdamW alone", streamed, steps),
        {"name": "largest share of a run's time spent waiting for data",
         "value": round(max(waited), 4)},
        {"name": "share of a run's time outside loss, gradients and AdamW: median, largest",
         "value": [round(f(overheads), 4) for f in (statistics.median, max)]},
    ]  # fmt: skip
    write_results("loop", {**machine(), "steps": steps}, rows)


def _shares(results: list[Any], seconds: list[float]) -> tuple[float, float]:
    """Of a run's time: what waiting for data took, and all but what was timed in seconds."""
    later = results[1:]
    waited = sum(r.wait_s for r in later) / sum(r.step_s for r in later)
    return waited, 1 - sum(seconds) / sum(r.step_s for r in results)


@contextlib.contextmanager
def _work_timed(method: Any, optimizer: torch.optim.Optimizer) -> Iterator[list[float]]:
    """Seconds of each call of loss, gradients, clipping and optimiser inside."""
    seconds: list[float] = []

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                seconds.append(time.perf_counter() - start)

        return wrapped

    places = [
        (method, "training_loss"), (optimizer, "step"), (torch.Tensor, "backward"),
        (torch.nn.utils, "clip_grad_norm_"),
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for owner, name in places:
            stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name))))
        yield seconds


def _bare(method: Any, optimizer: torch.optim.Optimizer, batches: list[Any]) -> float:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    method.module().train()
    start = time.perf_counter()
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        method.training_loss(batch).per_sample.mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=False)
        optimizer.step()
    return time.perf_counter() - start


if __name__ == "__main__":
    fire.Fire(main)
