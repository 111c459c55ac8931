"""What a trained style adapter does with held-out pairs; prints JSON.

    python -m bench.style_scores RUN --pictures=NAMES --shards=DIR --manifests=DIR [--draws=8]

The loss: of each held-out sample at the same steps and noise, once with its own style picture and
once with that of another sample. The pictures: those that train.stylize packed from the run.
Intervals resample photographs, all pairs of a photograph together.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fire
import numpy as np

from eval.feature_store import FeatureStore
from eval.looking import Looker, View
from eval.roster import Item, Roster
from eval.statistics import shuffled
from toolkit.measures.edges import edge_correlation, two_scale_edge_similarity
from toolkit.measures.histograms import colour_statistics
from toolkit.store.layout import Layout

RESAMPLES = 4000


def main(run: str, pictures: str, shards: str, manifests: str, draws: int = 8) -> None:
    """Measures one run.

    Args:
        run: its folder.
        pictures: datasets that were made with it, with commas between them.
        shards, manifests: of the data that it was trained on.
        draws: of step and noise, for each held-out sample.
    """
    layout = Layout(Path(shards), Path(manifests))
    names = pictures.split(",")
    made = {name: scores(name, layout) for name in names}
    print(json.dumps({**losses(Path(run), layout, draws), "pictures": made}))


def losses(run: Path, layout: Layout, draws: int) -> dict[str, Any]:
    """What another style picture adds to the loss, and to each of its terms."""
    import torch

    from train.data import open_data
    from train.methods.style_adapter.config import DropoutConfig
    from train.runs import load_config, needs_of, open_run
    from train.trained import load_trained
    from train.watch import fixed_batch

    folder = open_run(run)
    settings = load_config(folder.config)
    torch.set_num_threads(settings.threads)
    method: Any = load_trained(folder, settings).method
    method.config = replace(method.config, dropout=DropoutConfig(0.0, 0.0, 0.0))
    main_only = replace(settings, data=replace(settings.data, mix="main:1"))
    data = open_data(main_only.data, needs_of(settings), layout)
    held_out = data.validation[0]
    batch = fixed_batch(data, main_only, ("content", "style"), "style_scores", len(held_out))
    contents, styles = batch.images["content"].keys, batch.images["style"].keys
    other = torch.from_numpy(shuffled(styles))
    style, present = batch.features["style"]
    wrong = replace(batch, features={**batch.features, "style": (style[other], present[other])})
    found = []
    with torch.no_grad():
        for draw in range(draws):
            seeds = batch.sample_seed + 7919 * (draw + 1)
            own, another = (
                method.training_loss(replace(b, sample_seed=seeds)) for b in (batch, wrong)
            )
            found.append((another.per_sample - own.per_sample).numpy())
    added = np.mean(found, axis=0)
    return {
        "samples": len(batch), "photographs": len(set(contents)),
        "own_loss": float(own.per_sample.mean()), "another_style_adds": estimate(added, contents),
    }  # fmt: skip


def scores(dataset: str, layout: Layout) -> dict[str, Any]:
    """Of pictures: mean difference from the teacher's target (0 to 255); edges shared
    with the content; distance of colour statistics from the style picture, and from another one;
    and leakage: how much more of the edges of its own style picture than of another's."""
    outputs = Outputs(layout, dataset)
    contents = [item.cluster("content") for item in outputs.items]
    other = shuffled([item.cluster("style") for item in outputs.items])
    references = [outputs.reference(item, "style") for item in outputs.items]
    columns: dict[str, list[float]] = {}
    for number, item in enumerate(outputs.items):
        made = outputs.output(item)
        content, target = (outputs.reference(item, r) for r in ("content", "target"))
        own, another = references[number], references[other[number]]
        for column, value in {
            "target_difference": np.abs(made.astype(float) - target).mean(),
            "content_difference_from_target": np.abs(content.astype(float) - target).mean(),
            "content_edges": two_scale_edge_similarity(made, content),
            "style_colours": _apart(made, own),
            "another_style_colours_minus_own": _apart(made, another) - _apart(made, own),
            "leakage": edge_correlation(made, own, 4.0) - edge_correlation(made, another, 4.0),
            "leakage_of_target": edge_correlation(target, own, 4.0)
            - edge_correlation(target, another, 4.0),
        }.items():
            columns.setdefault(column, []).append(float(value))
    return {name: estimate(np.array(values), contents) for name, values in columns.items()}


class Outputs:
    """The pictures of a dataset, and what each was made from in its size: uint8 [H,W,3]."""

    def __init__(self, layout: Layout, dataset: str):
        self.items = list(Roster(layout, dataset).items())
        self._looker = Looker(layout, FeatureStore())

    def output(self, item: Item) -> np.ndarray:
        """The picture itself."""
        return self._looker.pixels(View(item.picture))

    def reference(self, item: Item, role: str) -> np.ndarray:
        """What it is linked to by a role."""
        return self._looker.pixels(View(item.refs[role][0], (item.width, item.height)))


def estimate(values: np.ndarray, groups: Sequence[str]) -> list[float]:
    """[mean, low, high]: the mean and its 95% interval, over draws of whole groups."""
    names = np.unique(np.asarray(groups), return_inverse=True)[1]
    sums = np.bincount(names, values)
    counts = np.bincount(names)
    drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return [round(float(x), 5) for x in (values.mean(), *np.quantile(means, (0.025, 0.975)))]


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(colour_statistics(a) - colour_statistics(b)).mean())


if __name__ == "__main__":
    fire.Fire(main)
