"""How much couplings of noise and data lower the variance of what a flow learns, on real latents.

    python -m bench.couplings [--weights=FOLDER] [--batches=20] [--folder=/tmp/tessera-bench]

The regression target is x_1 − x_0: its mean over a batch does not depend on the pairing, its
variance does (Tong et al. 2023, arXiv 2302.00482, section 3.2). Batches are a run's own, of the
sample data's photographs and paintings at 128 pixels; latents as in `bench.flow`. A value is a
component's mean variance; 2 for standardised data and independent noise.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import fire
import torch

from bench.flow import encoded, run_settings
from bench.order import sample_data
from bench.timing import machine, write_results

SIZES = (24, 64, 256)
KINDS = ("independent", "c2ot", "ot_hungarian")


def main(weights: str = "", batches: int = 20, folder: str = "/tmp/tessera-bench") -> None:
    """Measures and keeps bench/results/couplings.json."""
    from toolkit.store.layout import Layout

    about = machine()  # before it is busy
    data = sample_data(Path(folder) / "flow")
    layout = Layout(data / "s", data / "m")
    sidecar = encoded(layout, weights)
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        found = {kind: variance(layout, sidecar, size, kind, batches) for kind in KINDS}
        for kind, value in found.items():
            ratio = round(value / found["independent"], 4)
            rows.append({"name": f"{kind}, batch {size}", "variance": round(value, 4),
                         "against_independent": ratio})  # fmt: skip
    write_results("couplings", {**about, "sidecar": sidecar, "batches": batches}, rows)


def variance(layout: Any, sidecar: str, size: int, kind: str, batches: int) -> float:
    """Mean variance of the components of x_1 − x_0 as a run with this coupling is given them."""
    from train.data import facts_of_data, open_data, open_loader
    from train.methods.ot_cfm.method import NOISE_SEED
    from train.parts.noise import normal, sample_generators
    from train.runs import build_method, needs_of, settled

    settings = run_settings(sidecar, size, **{"method_config.coupling": kind})
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        chosen = open_data(settings.data, needs_of(settings), layout)
        settings = settled(settings, facts_of_data(chosen))
        method = build_method(settings)
        loader = iter(
            stack.enter_context(open_loader(settings, chosen, needs_of(settings), layout))
        )
        method.calibrate(loader)
        targets = []
        for _ in range(batches):
            batch = method.prepare(next(loader))
            seeds, _ = batch.features.get(NOISE_SEED, (batch.sample_seed, None))
            x1 = method.latents(batch)
            targets.append(x1 - normal(sample_generators(seeds), x1.shape[1:], "cpu"))
    return float(torch.cat(targets).var(dim=0).mean())


if __name__ == "__main__":
    fire.Fire(main)
