"""Anonymous memory of scoring 5,000 and 50,000 pictures.

    python -m bench.scoring_memory [--few=5000] [--many=50000]

All pictures differ. Inception's features are put into the store beforehand, at random, since an
hour of convolutions would change nothing in what is held: FID and KID read them from there, as a
second evaluation does. RssAnon of the whole command is sampled twenty times a second.
"""

import shutil
from pathlib import Path
from typing import Any

import fire
import numpy as np

from bench.memory import peak_of
from bench.scoring import random_weights, write_pictures
from bench.timing import machine, write_results
from toolkit.store.layout import Layout

METRICS = "fid,kid,edge_structure,colour_histogram,colour_distance"


def main(few: int = 5000, many: int = 50_000, folder: str = "/tmp/tessera-bench") -> None:
    """Measures and keeps bench/results/scoring_memory.json."""
    weights = random_weights(Path(folder) / "networks")["inception"]
    rows = [_measured(Path(folder), count, weights) for count in (few, many)]
    ratio = rows[1]["rss_anon_mb"] / rows[0]["rss_anon_mb"]
    rows.append({"name": "many / few", "ratio": round(ratio, 3)})
    write_results("scoring_memory", {**machine(), "metrics": METRICS}, rows)


def _measured(folder: Path, count: int, weights: Path) -> dict[str, Any]:
    root = folder / f"scoring-{count}-64"
    write_pictures(root, count, 64)
    for name in ("shards", "manifests", "runs"):
        shutil.rmtree(root / name, ignore_errors=True)
    command = [
        "eval.run", f"--folder={root / 'out'}", f"--contents={root / 'contents'}",
        f"--styles={root / 'styles'}", f"--metrics={METRICS}", f"--weights=inception:{weights}",
        *(f"--{name}={root / name}" for name in ("shards", "manifests", "runs")),
    ]  # fmt: skip
    _fill(Layout(root / "shards", root / "manifests"), root, weights)
    return {"pictures": count, "rss_anon_mb": round(peak_of(command) / 1e6, 1)}


def _fill(layout: Layout, root: Path, weights: Path) -> None:
    """Packs the folders as the command would, and stores random features of all pictures."""
    from eval.feature_store import FeatureStore
    from eval.features.api import Extractors
    from eval.folder import subject_of_folder
    from eval.looking import View
    from eval.roster import Roster
    from eval.set_scores import common_size

    subject = subject_of_folder(
        root / "out", str(root / "contents"), str(root / "styles"), None, root / "runs", layout
    )
    fingerprint = Extractors({"inception": str(weights)})["inception"].fingerprint
    store = FeatureStore(layout.manifests / ".features" / "features.sqlite")
    rng, roster = np.random.default_rng(0), Roster(layout, subject.dataset)
    size = common_size(roster)
    views = [View(item.picture) for item in roster.items()]
    for role in ("content", "style"):
        views += [View(picture, size) for picture in roster.all_references(role)]
    for view in views:
        features = tuple(rng.normal(size=count).astype(np.float32) for count in (2048, 64))
        store.keep_features(fingerprint, view.name, features)
    store.close()


if __name__ == "__main__":
    fire.Fire(main)
