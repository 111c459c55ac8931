"""Held-out pictures, what translation and simpler ways make of them, and how those score."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from eval.domains import Probe, adain, colour_transfer, fit_probe, statistics
from eval.translation_scores import Row, pooled, scored_row, share
from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.measures.edges import SIGMAS_PX, edge_correlation

BASELINES = ("unchanged", "colour transfer", "AdaIN")
_ROUND_TRIPS = 8  # samples whose round trips are measured
_SHOWN = 10  # pictures
_DECODED = 150  # cuts of each style that are decoded to fit the probe of pictures


class _Judged(NamedTuple):
    """named, named_latents: int64 [N], what the two probes say; edges: float64 [N,2]; shown: some
    of the pictures."""

    named: torch.Tensor
    named_latents: torch.Tensor
    edges: np.ndarray
    shown: torch.Tensor


class Translations:
    """Held-out pictures of one style, and what becomes of them.

    Args:
        opened: the run, a `train.translating.Translating`.
        how: options of the translation, without guidance.
        source, targets: styles; the first, and all others, where empty.
        samples: cuts of the source, and of each style for the probe's accuracy.
        probe_samples: cuts of each style to fit the probe to.
        numbered_crops: whether keys that differ in a last -NUMBER are of one photograph.

    Raises UserError: unknown styles, styles without samples.
    """

    def __init__(
        self,
        opened: Any,
        how: Any,
        source: str,
        targets: Sequence[str],
        samples: int,
        probe_samples: int,
        numbered_crops: bool,
    ):
        self._opened, self._how = opened, how
        self._source, self._targets = _chosen(opened.styles, source, targets)
        self._pixels, keys = opened.held_out(self._source, samples, "translation")
        self._groups = [re.sub(r"-\d+$", "", key) for key in keys] if numbered_crops else keys
        self._latents = opened.encoded(self._pixels)
        self._some = _first_of_each(self._groups, _SHOWN)
        self._shown: dict[tuple[str, str], torch.Tensor] = {}  # of those, by way and target
        self._seconds: dict[str, float] = {}
        self._of_latents, self._of_pictures = _probes(opened, probe_samples)
        start = time.monotonic()
        opened.encoded(opened.decoded(self._latents[:_ROUND_TRIPS]))
        some = len(self._latents[:_ROUND_TRIPS])
        self._seconds["decoding and encoding"] = (time.monotonic() - start) / some
        self._right = self._accuracy(samples)

    def rows(self, guidances: Sequence[float]) -> list[Row]:
        """Every way of translating, for each target, and for all where there are several."""
        noise = self._noise
        ways: dict[str, Callable[[str], torch.Tensor]] = {
            "unchanged": lambda _: self._latents,
            "colour transfer": self._recoloured,
            "AdaIN": self._renormalised,
        }
        ways |= {f"guidance {w:g}": partial(self._translated, noise, w) for w in guidances}
        found: list[Row] = []
        with Progress(len(ways) * len(self._targets), "score", "sets") as progress:
            for what, way in ways.items():
                parts, judged = [], None
                for target in self._targets:
                    if judged is None or what != "unchanged":  # the same for all targets
                        judged = self._judged(way(target))
                    self._shown[what, target] = judged.shown
                    parts.append(self._scored(target, judged))
                    progress.advance()
                found += [scored_row(what, part, self._groups) for part in parts]
                if len(parts) > 1:
                    found.append(pooled(what, parts, self._groups))
        return found

    @cached_property
    def _noise(self) -> torch.Tensor:
        """Of the held-out pictures, at the end of the way back."""
        start = time.monotonic()
        plain = replace(self._how, guidance=1.0)
        with Progress(len(self._pixels), "inversion", "pictures") as progress:
            parts = self._opened.inverted(self._latents, self._source, plain)
            noise = torch.cat(list(_counted(parts, progress)))
        self._seconds["inversion"] = (time.monotonic() - start) / len(noise)
        return noise

    def forecast_s(self, guidances: Sequence[float], budgets: Sequence[int]) -> float:
        """Seconds that the rows and the round trips will about take, told by the inversion and by
        the autoencoder."""
        count, num_targets = len(self._noise), len(self._targets)
        once = self._seconds["inversion"]  # a picture, without guidance
        solved = num_targets * sum(1 if w == 1 else 2 for w in guidances) * count * once
        sets = 1 + num_targets * (len(BASELINES) - 1 + len(guidances))
        judged = sets * count * self._seconds["decoding and encoding"]
        cost = self._opened.evaluations(self._how)
        trips = sum(n for _, n, _ in self._opened.solver_settings(self._how, budgets))
        return solved + judged + 2 * trips * min(count, _ROUND_TRIPS) * once / cost

    def round_trips(self, budgets: Sequence[int]) -> list[dict[str, Any]]:
        """Mean relative error of there and back under the source's label, by solver and
        evaluations each way."""
        found = []
        settings = self._opened.solver_settings(self._how, budgets)
        some = self._latents[:_ROUND_TRIPS]
        with Progress(len(settings), "round trips", "settings") as progress:
            for solver, evaluations, how in settings:
                error = self._opened.round_trip(some, self._source, how)
                found.append({"solver": solver, "evaluations": evaluations, "error": error})
                progress.advance()
        return found

    def facts(self) -> dict[str, Any]:
        """What was measured, and on what."""
        return {
            **self._opened.identity,
            "source": self._source,
            "targets": list(self._targets),
            "samples": len(self._pixels),
            "photographs": len(set(self._groups)),
            "size_px": self._pixels.shape[-1],
            "options": asdict(self._how),
            "probe_right": self._right,
            "seconds_per_picture": self._seconds,
        }

    def sheet(self) -> tuple[list[str], np.ndarray]:
        """Names of columns, and uint8 [H,W,3]: a row for each of some pictures. With one target all
        ways, with several what guidance makes of each at the second of its weights."""
        ways = list(dict.fromkeys(what for what, _ in self._shown))
        if len(self._targets) > 1:
            guided = [what for what in ways if what not in BASELINES]
            way = guided[min(1, len(guided) - 1)]
            shown = {f"{target}, {way}": self._shown[way, target] for target in self._targets}
        else:
            shown = {what: self._shown[what, self._targets[0]] for what in ways}
        columns = {"original": self._pixels[self._some], **shown}
        rows = torch.cat(list(columns.values()), dim=3)
        return list(columns), _bytes(torch.cat(list(rows), dim=1))

    def _accuracy(self, samples: int) -> dict[str, Any]:
        """How many held-out originals of each style the probe takes for what they are."""
        found = {}
        for number, style in enumerate(self._opened.styles):
            if self._opened.is_validated(style):
                pixels, keys = self._opened.held_out(style, samples, "probe")
                latents = self._opened.encoded(pixels)
                again = self._opened.encoded(self._opened.decoded(latents))
                shares = {
                    what: asdict(
                        share((named == number).double().numpy(), keys, [style] * len(keys))
                    )
                    for what, named in (
                        ("called", self._of_pictures.predict(again)),
                        ("called_latents", self._of_latents.predict(latents)),
                    )
                }
                found[style] = {**shares, "pictures": len(set(keys)), "cuts": len(keys)}
        return found

    def _translated(self, noise: torch.Tensor, weight: float, target: str) -> torch.Tensor:
        start = time.monotonic()
        guided = replace(self._how, guidance=weight)
        found = torch.cat(list(self._opened.generated(noise, target, guided)))
        self._seconds[f"guidance {weight:g}"] = (time.monotonic() - start) / len(noise)
        return found

    def _references(self, target: str) -> torch.Tensor:
        """As many cuts of the target style as there are sources."""
        pixels, _ = self._opened.held_out(target, len(self._pixels), "reference")
        return pixels[[n % len(pixels) for n in range(len(self._pixels))]]

    def _recoloured(self, target: str) -> torch.Tensor:
        return self._opened.encoded(colour_transfer(self._pixels, self._references(target)))

    def _renormalised(self, target: str) -> torch.Tensor:
        references = self._opened.encoded(self._references(target))
        return adain(self._latents, references)

    def _judged(self, latents: torch.Tensor) -> "_Judged":
        pictures = self._opened.decoded(latents)
        edges = [
            [edge_correlation(_bytes(a), _bytes(b), sigma) for sigma in SIGMAS_PX]
            for a, b in zip(self._pixels, pictures, strict=True)
        ]
        return _Judged(
            self._of_pictures.predict(self._opened.encoded(pictures)),
            self._of_latents.predict(latents),
            np.array(edges),
            pictures[self._some],
        )

    def _scored(self, target: str, judged: "_Judged") -> dict[str, Any]:
        styles = self._opened.styles
        number = styles.index(target)
        return {
            "target": target,
            "called": (judged.named == number).double().numpy(),
            "called_latents": (judged.named_latents == number).double().numpy(),
            "edges": judged.edges,
            "taken_for": Counter(styles[number] for number in judged.named.tolist()),
        }


def _chosen(
    styles: Sequence[str], source: str, targets: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    chosen = source or styles[0]
    for style in (chosen, *targets):
        if style not in styles:
            raise UserError(f"the run knows no style {style!r}: it has {', '.join(styles)}")
    if chosen in targets:
        raise UserError(f"--targets names {chosen}, which is the source")
    return chosen, tuple(targets) or tuple(style for style in styles if style != chosen)


def _first_of_each(groups: Sequence[str], most: int) -> list[int]:
    """Numbers of the first of each group."""
    first = {group: number for number, group in reversed(list(enumerate(groups)))}
    return sorted(first.values())[:most]


def _probes(opened: Any, count: int) -> tuple[Probe, Probe]:
    """Of latents as they are made, and of pictures, both fitted to what the run was trained on. One
    style at a time is held in memory."""
    moments, slopes = [], []
    with Progress(len(opened.styles), "probes", "styles") as progress:
        for style in opened.styles:
            latents = opened.trained_on(style, count, "probe")
            moments.append(statistics(latents, with_slopes=False))
            shown = opened.encoded(opened.decoded(latents[:_DECODED]))  # as translations are
            slopes.append(statistics(shown, with_slopes=True))
            progress.advance()
    numbers = [
        torch.tensor([number for number, part in enumerate(parts) for _ in part])
        for parts in (moments, slopes)
    ]
    return (
        fit_probe(torch.cat(moments), numbers[0], with_slopes=False),
        fit_probe(torch.cat(slopes), numbers[1], with_slopes=True),
    )


def _counted(parts: Iterator[torch.Tensor], progress: Progress) -> Iterator[torch.Tensor]:
    for part in parts:
        progress.advance(len(part))
        yield part


def _bytes(pixels: torch.Tensor) -> np.ndarray:
    """float [3,H,W] in [-1,1] to uint8 [H,W,3]."""
    return ((pixels + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
