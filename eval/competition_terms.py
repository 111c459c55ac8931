"""The six terms of the competition's score, of pictures and references in folders, in two modes.

official is the published scorer with its faults, for comparison with published numbers:
histograms without blue (`toolkit/measures/competition_histograms.py`), CLIP-IQA of pictures from 0
to 255 that are taken for ones from 0 to 1, and, in one of two copies of the scorer that are about,
a FID of the last style alone, `fid_last`; the other copy pools all styles, `fid_pooled`. corrected
has histograms of all three channels, CLIP-IQA of the right range, and FID of all styles.

Both: DINOv2's cosine to every reference; LPIPS over SqueezeNet to every reference at 256 × 256
pixels, bilinear; FID of Inception's 64 features; CLIP ViT-L/14 finding the file's name among the
first five of a list of words; means over pictures, then over styles.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eval.competition import Final, Terms, final
from eval.feature_store import FeatureStore
from eval.features.api import Extractor, Extractors, Features
from eval.features.clip_iqa import TEXTS, open_unscaled
from eval.features.preprocess import resized
from eval.frechet import frechet_distance
from eval.looking import by_threads
from eval.metrics.clip_iqa import share
from eval.metrics.clip_r import found as retrieved
from eval.metrics.dino_similarity import cosine
from eval.metrics.lpips import score as lpips
from eval.moments import Moments
from toolkit.measures.competition_histograms import ReferenceColours
from toolkit.store.images import decode_rgb

LPIPS_PX = 256
MODES = ("official", "corrected")
COLUMNS = (
    "dino", "lpips", "clip_r", "hist official", "hist corrected", "clip_iqa official",
    "clip_iqa corrected",
)  # fmt: skip
Score = tuple[Terms, Final]
_FID_PART = 1  # of the extractor's features: the 64


@dataclass(frozen=True)
class Measured:
    """What was seen of generated pictures. styles: names; files: by style; rows: by style, float64
    [N,7], the COLUMNS of each picture; inception, of_references: by style, float32 [N,64]."""

    styles: tuple[str, ...]
    files: Mapping[str, tuple[Path, ...]]
    rows: Mapping[str, np.ndarray]
    inception: Mapping[str, np.ndarray]
    of_references: Mapping[str, np.ndarray]

    def mean(self, column: str) -> float:
        """Over the pictures of each style, then over styles; of clip_r over all pictures."""
        number = COLUMNS.index(column)
        parts = [self.rows[style][:, number] for style in self.styles]
        if column == "clip_r":
            return float(np.concatenate(parts).mean())
        return float(np.mean([part.mean() for part in parts]))

    def fid(self, styles: Sequence[str]) -> float:
        """Of the pictures of some styles, against their references."""
        sides = (self.inception, self.of_references)
        moments = [Moments.of(np.concatenate([side[s] for s in styles])) for side in sides]
        return frechet_distance(*moments)

    def terms(self, mode: str, fid: float) -> Terms:
        """In one of MODES."""
        return Terms(
            dino=self.mean("dino"), hist=self.mean(f"hist {mode}"), fid=fid,
            lpips=self.mean("lpips"), clip_iqa=self.mean(f"clip_iqa {mode}"),
            clip_r=self.mean("clip_r"),
        )  # fmt: skip

    def scores(self, fid_last: float | None = None) -> dict[str, Score]:
        """Terms and score of each mode, and of either copy of the official scorer. fid_last: of
        the last style, if it is not that of these."""
        pooled = self.fid(self.styles)
        last = self.fid(self.styles[-1:]) if fid_last is None else fid_last
        found = {
            "official, fid_pooled": self.terms("official", pooled),
            "official, fid_last": self.terms("official", last),
            "corrected": self.terms("corrected", pooled),
        }
        return {name: (terms, final(terms)) for name, terms in found.items()}


class Judge:
    """Looks at pictures in files.

    extractors: dinov2, lpips_squeeze, inception, clip_iqa and clip_large of them. words: texts that
    names are retrieved among. Raises MissingWeights.
    """

    def __init__(self, extractors: Extractors, words: Sequence[str], store: FeatureStore):
        self.store = store
        self.dino, self._lpips = extractors["dinov2"], extractors["lpips_squeeze"]
        self._inception, self._clip = extractors["inception"], extractors["clip_large"]
        assert self._clip.text is not None
        self._words = np.stack([self._clip.text(word)[0] for word in words])
        self._iqa = {
            "official": open_unscaled(extractors.weights.get("clip_iqa"), extractors.device),
            "corrected": extractors["clip_iqa"],
        }

    def measure(
        self, generated: Mapping[str, Sequence[Path]], references: Mapping[str, Sequence[Path]]
    ) -> Measured:
        """Pictures of each style beside the references of that style."""
        rows, inception, of_references = {}, {}, {}
        for style, files in generated.items():
            wanted = references[style]
            colours = {mode: ReferenceColours(mode == "official") for mode in MODES}
            for path in wanted:
                for one in colours.values():
                    one.add(_pixels(path))
            dinos = list(by_threads(lambda path: self.features(path, self.dino), wanted))
            squeezes = list(by_threads(self._squeezed, wanted))
            row = partial(self._row, colours=colours, dinos=dinos, squeezes=squeezes)
            found = list(by_threads(row, files))
            rows[style] = np.array([values for values, _ in found])
            inception[style] = np.stack([features for _, features in found])
            of_references[style] = np.stack(list(by_threads(self._pooled, wanted)))
        files_of = {style: tuple(files) for style, files in generated.items()}
        return Measured(tuple(generated), files_of, rows, inception, of_references)

    def features(self, path: Path, extractor: Extractor, side: int = 0) -> Features:
        """side: pixels a side that the picture is squashed to first, bilinearly; 0 for none."""
        data = path.read_bytes()
        name = hashlib.sha256(data).hexdigest() + (f"@{side}x{side} bilinear" if side else "")
        known = self.store.features(extractor.fingerprint, name) if extractor.kept else None
        if known is not None:
            return known
        pixels = decode_rgb(data)
        found = extractor.look(resized(pixels, side, side, "bilinear") if side else pixels)
        if extractor.kept:
            self.store.keep_features(extractor.fingerprint, name, found)
        return found

    def _squeezed(self, path: Path) -> Features:
        return self.features(path, self._lpips, LPIPS_PX)

    def _pooled(self, path: Path) -> np.ndarray:
        return self.features(path, self._inception)[_FID_PART]

    def _row(
        self, path: Path, colours: Mapping[str, ReferenceColours], dinos: Sequence[Features],
        squeezes: Sequence[Features],
    ) -> tuple[list[float], np.ndarray]:  # fmt: skip
        pixels, own = _pixels(path), self.features(path, self.dino)
        squeezed = self._squeezed(path)
        row: dict[str, Any] = {
            "dino": np.mean([cosine(own, other) for other in dinos]),
            "lpips": np.mean([lpips(squeezed, other) for other in squeezes]),
            "clip_r": self._found(path),
            **{f"hist {mode}": one.score(pixels) for mode, one in colours.items()},
            **{f"clip_iqa {mode}": self._quality(path, mode) for mode in MODES},
        }
        return [float(row[name]) for name in COLUMNS], self._pooled(path)

    def _found(self, path: Path) -> float:
        """Whether the name of the file is found."""
        prompt = path.name.split(".")[0].lower()
        assert self._clip.text is not None
        own = self._clip.text(prompt)[0]
        return float(retrieved(self.features(path, self._clip)[0], own, self._words))

    def _quality(self, path: Path, mode: str) -> float:
        extractor = self._iqa[mode]
        assert extractor.text is not None
        texts = np.stack([extractor.text(text)[0] for text in TEXTS])
        return share(self.features(path, extractor)[0], texts)


def _pixels(path: Path) -> np.ndarray:
    return decode_rgb(path.read_bytes())


def as_rows(
    scores: Mapping[str, Score], intervals: Mapping[str, tuple[float, float]]
) -> list[list[Any]]:
    """A row for each term and part of the score and its interval, a column for each mode."""
    names = list(asdict(next(iter(scores.values()))[0]))
    rows: list[list[Any]] = [
        [name, *(f"{asdict(terms)[name]:.6f}" for terms, _ in scores.values())] for name in names
    ]
    for part in ("style", "text", "quality", "score"):
        rows.append([part, *(f"{getattr(one, part):.6f}" for _, one in scores.values())])
    rows.append(["95%", *("{:.4f} … {:.4f}".format(*intervals[name]) for name in scores)])
    return rows
