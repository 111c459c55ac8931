"""Where a run's flow begins: the noise of each sample, for a second training (reflow).

    python -m train.invert --run=runs/NAME --sidecar=noise
    python -m train.run METHOD --config=runs/NAME/config.toml --noise_sidecar=noise
        --init_from=runs/NAME --name=NAME-reflow

The second run learns the straight line from each sample's own noise to it (Liu et al. 2023, "Flow
Straight and Fast", arXiv 2209.03003, section 2.3), so that few steps do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.core import command
from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from toolkit.store.layout import local_layout


def main(
    *,
    run: Path,
    sidecar: str = "noise",
    checkpoint: Path | None = None,
    solver: str = "midpoint",
    steps: int = 20,
    batch_size: int = 64,
    dtype: str = "float16",
    device: str | None = None,
    overwrite: bool = False,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Solves a run's flow backwards for every latent that it was trained or validated on, under the
    latent's own label, and writes the noise beside the shards.

    What is there stays, shard by shard: after a kill, start the same command again. Under torchrun
    each process takes every n-th shard.

    Args:
        run: the run's folder.
        sidecar: name of what is written.
        checkpoint: a checkpoint by folder or name, as step-000100; the last one otherwise.
        solver: euler, midpoint, heun, rk4 or fireflow.
        steps: of the solver.
        batch_size: latents that are solved at a time.
        dtype: number format of the noise, float16 or float32.
        device: cpu, cuda, cuda:1 …; the one of the training otherwise.
        overwrite: replace a sidecar of this name that was made in another way.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    import dataclasses

    from toolkit.store.recipe import check_name
    from train.runs import load_config, open_run
    from train.trained import load_trained

    at_least(1, steps=steps, batch_size=batch_size)
    if dtype not in ("float16", "float32"):
        raise UserError(f"--dtype={dtype}: takes float16 or float32")
    check_name(sidecar)
    folder = open_run(run)
    settings = load_config(folder.config)
    if device is not None:
        settings = dataclasses.replace(settings, device=device)
    trained = load_trained(folder, settings, checkpoint)
    how = {"solver": solver, "steps": str(steps)}
    try:
        found = _invert(
            trained, local_layout(shards, manifests), sidecar, how, batch_size, dtype,
            overwrite,
        )  # fmt: skip
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on after the last whole shard") from None
    name, rate = f"{run.resolve().name}-reflow", settings.optim.lr / 3
    print(
        f"{sidecar}: {found.num_encoded} samples in {found.seconds:.0f} s, {found.num_kept} were "
        f"there; next: python -m train.run {settings.method} --config={folder.config} "
        f"--noise_sidecar={sidecar} --init_from={trained.checkpoint} "
        f"--lr={rate:.1g} --name={name}"
    )


def _invert(
    trained: Any,
    layout: Any,
    sidecar: str,
    how: dict[str, str],
    batch_size: int,
    dtype: str,
    overwrite: bool,
) -> Any:
    import numpy as np
    import torch

    from toolkit.core.config import resolve
    from toolkit.encoding.derive import derive
    from toolkit.encoding.frame import Wanted
    from toolkit.store.catalog import Catalog
    from toolkit.store.recipe import COMMAND, Recipe, common_recipe
    from toolkit.stream.ranks import rank_and_world
    from train.methods import stylize_defaults
    from train.methods.api import Translates
    from train.methods.needs import INVERT
    from train.runs import needs_of

    settings, method = trained.settings, trained.method
    if not isinstance(method, Translates):
        raise UserError(f"{settings.method} has no flow that could be solved backwards")
    chosen = resolve(stylize_defaults(settings.method), how, "the flags")
    (feature,) = needs_of(settings).features[:1]
    datasets, condition = _wanted(settings.data)
    source = common_recipe([(layout, dataset) for dataset in sorted(datasets)], feature.sidecar)
    made_by = {
        "encoder": "noise", COMMAND: INVERT, **trained.identity, "of": source.sha256, **how,
    }  # fmt: skip
    recipe = Recipe(made_by, ("latent",), {**source.settings, "dtype": dtype})

    @torch.no_grad()
    def noise(values: np.ndarray, dataset: str, rows: Sequence[dict[str, Any]]) -> np.ndarray:
        styles = [row["style"] for row in rows]
        x, labels = method.standardised(torch.from_numpy(values), datasets[dataset], styles)
        return method.translator.invert(x, labels, chosen).cpu().numpy().astype(dtype)

    catalog = Catalog(layout, sorted(datasets))
    checked = catalog.condition(condition)
    wanted = Wanted(sidecar, recipe, checked, *rank_and_world(), overwrite)
    return derive(catalog, feature.sidecar, wanted, noise, batch_size)


def _wanted(data: Any) -> tuple[dict[str, str], str]:
    """The task of each dataset, and SQL for what is trained and validated on."""
    from toolkit.stream.mix import parse_mix
    from toolkit.stream.tasks import dataset_of, in_split

    split = f"({in_split(data.split)} or split = '{data.val_split}')"
    tasks = {dataset_of(task, data.main): task for task in parse_mix(data.mix)}
    first = next(iter(tasks))
    parts = {dataset: f"dataset = '{dataset}' and {split}" for dataset in tasks}
    parts[first] += f" and ({data.where}\n)"
    return tasks, " or ".join(f"({part})" for part in parts.values())


if __name__ == "__main__":
    command.run(main, "python -m train.invert")
