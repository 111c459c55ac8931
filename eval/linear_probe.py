"""A linear classifier of styles, frozen and hashed: how it is trained, judged and kept."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import atomic_path, make_folder, write_atomic

WEIGHTS, FACTS = "probe.safetensors", "probe.json"


@dataclass(frozen=True)
class LinearProbe:
    """labels: K names. mean, std: float32 [D], what features are standardised by; weight [D,K],
    bias [K]. facts: how it was trained, and what it is right about."""

    labels: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float64 [N,K] of features [N,D]."""
        standard = (features.astype(np.float64) - self.mean) / self.std
        found: np.ndarray = standard @ self.weight.astype(np.float64) + self.bias
        return found

    def best(self, features: np.ndarray) -> str:
        """The label of one picture's features [D]."""
        return self.labels[int(self.logits(features[None])[0].argmax())]

    @property
    def sha256(self) -> str:
        """Of weights and labels."""
        digest = hashlib.sha256(json.dumps(self.labels).encode())
        for values in (self.mean, self.std, self.weight, self.bias):
            digest.update(np.ascontiguousarray(values, "<f4").tobytes())
        return digest.hexdigest()


def fit(features: np.ndarray, labels: Sequence[str], decay: float) -> LinearProbe:
    """Fits a probe; each label counts as much, however often it stands there.

    Args:
        features: float [N,D].
        labels: N names, of two or more kinds.
        decay: weight of the squared coefficients, beside the mean loss.

    Raises UserError for labels of one kind.
    """
    import torch

    from eval.logistic import logistic_regression

    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(names) < 2:
        raise UserError(f"a probe needs two styles or more, these are all {names[0]}")
    mean, std = features.mean(0), features.std(0)
    std = np.maximum(std, 1e-6 * max(float(std.max()), 1e-6))
    given = torch.from_numpy(((features - mean) / std).astype(np.float32))
    weight, bias = logistic_regression(given, torch.from_numpy(codes), decay)
    kinds = tuple(map(str, names))
    return LinearProbe(kinds, mean, std, weight.numpy(), bias.numpy())


def accuracy(probe: LinearProbe, features: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """What the probe is right about on pictures with labels that it knows: top1 and top5, macro
    (top1 averaged over styles), beside chance and always naming the most frequent one."""
    codes = np.array([probe.labels.index(label) for label in labels])
    logits = probe.logits(features)
    ranks = (logits > logits[np.arange(len(codes)), codes][:, None]).sum(1)
    of_styles = [float((ranks[codes == code] == 0).mean()) for code in np.unique(codes)]
    return {
        "pictures": len(codes),
        "top1": float((ranks == 0).mean()),
        "top5": float((ranks < 5).mean()),
        "macro": float(np.mean(of_styles)),
        "chance": 1 / len(probe.labels),
        "majority": float(np.bincount(codes).max() / len(codes)),
    }


def save(probe: LinearProbe, folder: Path) -> None:
    """Writes a probe into a folder."""
    from safetensors.numpy import save_file

    make_folder(folder)
    tensors = {
        name: np.ascontiguousarray(getattr(probe, name), np.float32)
        for name in ("mean", "std", "weight", "bias")
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    facts = {"labels": probe.labels, "sha256": probe.sha256, **probe.facts}
    write_atomic(folder / FACTS, json.dumps(facts, indent=1) + "\n")


def load(folder: Path) -> LinearProbe:
    """A probe as it was written. Raises UserError for a damaged one."""
    from safetensors.numpy import load_file

    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
        probe = LinearProbe(tuple(facts.pop("labels")), facts=facts, **tensors)
    except Exception as error:  # safetensors raises anything on files of another kind
        raise UserError(f"{folder} holds no probe ({one_line(error)[:100]}): eval.probe") from None
    if probe.sha256 != facts["sha256"]:
        raise UserError(f"the probe in {folder} is not the one that was written: eval.probe again")
    return probe
