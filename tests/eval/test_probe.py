"""The classifier of styles: near the best there is on known distributions, frozen, hashed, and its
own accuracy beside what it says of generated pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval import probe, run
from eval.linear_probe import LinearProbe, accuracy, fit, load, save
from tests.eval.pictures import disturbed, picture
from tests.twins import EXTRACTORS
from toolkit.core.errors import UserError


def gaussians(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Two normal distributions two deviations apart, turned and stretched; a line is best, and it
    is right Φ(1) = 0.8413 of the time."""
    rng = np.random.default_rng(seed)
    labels = ["a" if n % 2 else "b" for n in range(count)]
    sides = np.array([1.0 if label == "a" else -1.0 for label in labels])
    plain = rng.normal(0, 1, (count, 4))
    plain[:, 0] += sides
    turn = np.linalg.qr(np.random.default_rng(7).normal(0, 1, (4, 4)))[0]
    return plain @ turn * np.array([1, 10, 0.1, 3]) + 5, labels


def test_reaches_the_accuracy_of_the_best_classifier() -> None:
    fitted = fit(*gaussians(4000, 0), decay=1e-4)
    found = accuracy(fitted, *gaussians(20000, 1))
    assert found["top1"] == pytest.approx(0.8413, abs=0.01)
    assert (found["chance"], found["majority"], found["top5"]) == (0.5, 0.5, 1.0)


def test_rare_labels_count_as_much() -> None:
    """One label nineteen times as frequent: macro accuracy stays, where naming it always would be
    right 95% of the time and 50% of the styles."""
    features, labels = gaussians(20000, 2)
    kept = [n for n, label in enumerate(labels) if label == "a" or n % 38 == 0]
    fitted = fit(features[kept], [labels[n] for n in kept], decay=1e-4)
    assert accuracy(fitted, *gaussians(20000, 3))["macro"] == pytest.approx(0.84, abs=0.02)


def test_is_written_hashed_and_read_again(tmp_path: Path) -> None:
    fitted = fit(*gaussians(200, 0), decay=1e-2)
    save(fitted, tmp_path)
    again = load(tmp_path)
    features, _ = gaussians(50, 5)
    assert again.labels == ("a", "b")
    np.testing.assert_allclose(again.logits(features), fitted.logits(features), rtol=1e-4)
    assert again.sha256 == fitted.sha256
    save(LinearProbe(("a", "c"), *(getattr(fitted, n) for n in ("mean", "std", "weight", "bias"))),
         tmp_path / "other")  # fmt: skip
    (tmp_path / "probe.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="holds no probe"):
        load(tmp_path)
    assert load(tmp_path / "other").sha256 != fitted.sha256
    with pytest.raises(UserError, match="two styles or more"):
        fit(features, ["a"] * 50, 1e-2)


@pytest.fixture
def paintings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Dark and bright pictures as two styles, some held out; a tiny DINOv2."""
    monkeypatch.chdir(tmp_path)
    for split, numbers in (("train", range(8)), ("val", range(8, 12))):
        for number in numbers:
            for style, factor in (("Dark", 0.3), ("Bright", 1.0)):
                path = tmp_path / "paintings" / style / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = 255 - factor * picture(number, 48)
                Image.fromarray(pixels.astype(np.uint8)).save(path)
                path.with_suffix(".json").write_text(json.dumps({"split": split}))
    from toolkit.packing.dataset import pack
    from toolkit.sources.folder import open_source
    from toolkit.store.layout import Layout

    pack(open_source(tmp_path / "paintings"), "paintings", Layout(), 100)
    EXTRACTORS["dinov2"](tmp_path / "dinov2")
    return tmp_path


def test_style_top1_of_real_and_of_disturbed_pictures(paintings: Path, call: Any) -> None:
    where, weights = "--where=dataset='paintings'", "--weights=dinov2:dinov2"
    done = call(probe.main, where, weights)
    assert done.code == 0, done.err
    assert "2 styles, probe" in done.out
    facts = json.loads(Path("manifests/probe/probe.json").read_text())
    assert facts["accuracy"]["val"]["pictures"] == 8
    assert facts["accuracy"]["val"]["top1"] >= 0.75
    for style in ("Dark", "Bright"):
        for number in range(8, 12):
            source = Image.open(f"paintings/{style}/{number}.png")
            other = {"Dark": "Bright", "Bright": "Dark"}[style]
            for folder, label in (("right", style), ("wrong", other)):
                path = Path(folder, label, f"{style}{number}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(disturbed(np.asarray(source), 4)).save(path)
    found = {}
    for folder in ("right", "wrong"):
        done = call(run.main, f"--folder={folder}", "--metrics=style_top1", weights)
        assert done.code == 0, done.err
        summary = json.loads(Path("runs", folder, "scores", "summary.json").read_text())
        (metric,) = summary["metrics"]
        found[folder] = metric["value"]
        assert "accuracy on real pictures, val" in metric["beside"]
    assert found["right"] >= 0.75
    assert found["wrong"] == pytest.approx(1 - found["right"])


def test_a_probe_of_other_weights_or_none_is_told(paintings: Path, call: Any) -> None:
    weights = "--weights=dinov2:dinov2"
    flags = ("--folder=paintings", "--name=p", "--metrics=style_top1", weights)
    assert "get it with: python -m eval.probe" in call(run.main, *flags).refusal()
    call(probe.main, "--where=dataset='paintings'", weights)
    facts = json.loads(Path("manifests/probe/probe.json").read_text())
    facts["extractor"]["weights"] = "other"
    Path("manifests/probe/probe.json").write_text(json.dumps(facts))
    assert "trained with other dinov2 weights" in call(run.main, *flags).refusal()
    refused = call(probe.main, "--where=style='Absent'", weights)
    assert "names no pictures of split train" in refused.refusal()
    assert (
        "left out, with fewer than 9"
        in call(probe.main, "--where=dataset='paintings'", "--least=9", weights).err
    )
