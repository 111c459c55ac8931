"""Trains the classifier of styles that `style_top1` asks.

    python -m eval.probe --where="dataset='wikiart'"

A linear classifier of DINOv2 features, of pictures of split train; it is right about other real
pictures as often as the table says, which bounds what a score of generated pictures can mean.
DINOv2 and not CLIP, so that a model that was trained with CLIP is not judged by it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.log import warn
from toolkit.core.progress import Progress
from toolkit.core.show import show
from toolkit.store.layout import Layout, local_layout


def main(
    *,
    where: str = "dataset='wikiart'",
    out: Path | None = None,
    size: int = 0,
    decay: float = 1e-3,
    least: int = 5,
    weights: tuple[str, ...] = (),
    device: str = "cpu",
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Fits a probe to pictures of split train, and tells how often it is right about others.

    Args:
        where: SQL of pictures with styles.
        out: folder of the probe; manifests/probe otherwise, where eval.run looks for it.
        size: pixels a side that pictures are cut and resized to first, to look as those that will
            be judged; 0 for their own size.
        decay: weight of the squared coefficients.
        least: styles with fewer pictures to train on are left out.
        weights: of the extractor, as dinov2:FOLDER.
        device: cpu, cuda, cuda:1 ….
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from eval.feature_store import FeatureStore
    from eval.features.api import Extractors
    from eval.linear_probe import accuracy, fit, save
    from eval.looking import Looker
    from eval.run import weights_by_name

    layout = local_layout(shards, manifests)
    extractor = Extractors(weights_by_name(weights), device)["dinov2"]
    parts = _pictures(layout, where, least)
    store = FeatureStore(layout.manifests / ".features" / "features.sqlite")
    looker = Looker(layout, store)
    seen = {name: _features(looker, extractor, part, size) for name, part in parts.items()}
    store.close()
    probe = fit(seen["train"], [p.style for p in parts["train"]], decay)
    rows = []
    for name, pictures in parts.items():
        known = [n for n, p in enumerate(pictures) if p.style in probe.labels]
        if known:
            labels = [pictures[n].style for n in known]
            rows.append((name, accuracy(probe, seen[name][known], labels)))
    facts = {
        "extractor": dict(extractor.identity), "where": where, "size": size, "decay": decay,
        "accuracy": dict(rows),
    }  # fmt: skip
    probe = replace(probe, facts=facts)
    heads = ["split", *rows[0][1]]
    show(heads, [(name, *(round(v, 4) for v in found.values())) for name, found in rows])
    if len(rows) == 1:
        print("no picture was held out: what the probe is right about on others is not known")
    folder = out or manifests / "probe"
    save(probe, folder)
    print(f"{len(probe.labels)} styles, probe {probe.sha256[:16]}…: {folder}")


def _pictures(layout: Layout, where: str, least: int) -> dict[str, list[Any]]:
    """Pictures with styles by split. Raises UserError where there is none to train on."""
    from eval.roster import Picture
    from toolkit.store.catalog import Catalog, without_rehearsals

    catalog = Catalog(layout, without_rehearsals(layout))
    condition = catalog.condition(where)
    rows = catalog.rows(
        "SELECT coalesce(split, 'train'), dataset, key, shard, members[1].offset, members[1].size, "
        "members[1].sha256, phash, style FROM samples WHERE status = 'ok' AND style IS NOT NULL "
        f"AND ({condition}\n) ORDER BY dataset, key"
    )
    found: dict[str, list[Any]] = {"train": []}
    for split, *row in rows:
        found.setdefault(split, []).append(Picture(*row))
    counts: dict[str, int] = {}
    for picture in found["train"]:
        counts[picture.style] = counts.get(picture.style, 0) + 1
    few = sorted(style for style, count in counts.items() if count < least)
    if few:
        warn(f"left out, with fewer than {least} pictures: {', '.join(few)}")
    found["train"] = [p for p in found["train"] if counts[p.style] >= least]
    if not found["train"]:
        raise UserError(f"{where!r} names no pictures of split train with {least} of a style")
    return dict(sorted(found.items()))


def _features(looker: Any, extractor: Any, pictures: list[Any], size: int) -> Any:
    """float32 [N,D]."""
    import numpy as np

    from eval.looking import View, by_threads

    square = (size, size) if size else None
    found = []
    with Progress(len(pictures), "look", "pictures") as progress:
        views = (View(picture, square) for picture in pictures)
        for seen in by_threads(lambda view: looker.features(view, extractor)[0], views):
            found.append(seen)
            progress.advance()
    return np.stack(found) if found else np.empty((0, 0), np.float32)


if __name__ == "__main__":
    command.run(main, "python -m eval.probe")
