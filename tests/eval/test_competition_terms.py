"""The competition's terms against a scorer written out by hand over the same networks: torchmetrics
for FID, the package lpips, OpenCV for histograms; faults shown where they show."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from eval import score
from eval.competition_terms import Judge, Measured
from eval.copies import nearest
from eval.feature_store import FeatureStore
from eval.features.api import Extractors
from tests.eval.pictures import disturbed, picture
from tests.twins import EXTRACTORS

NAMES = ("dinov2", "lpips_squeeze", "inception", "clip_iqa", "clip_large")
WORDS = ["cat", "dog", "house", "street", "red", "two", "painting", "blue"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("weights")
    return {name: str(EXTRACTORS[name](root / name)) for name in NAMES}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gen/STYLE/PROMPT.png and ref/STYLE/images/NAME.png; the two styles differ in number."""
    root = tmp_path_factory.mktemp("sets")
    for style, (made, wanted) in {"00": (3, 2), "01": (4, 3)}.items():
        for n in range(made):
            save(root / "gen" / style / f"{WORDS[n].title()}.png", disturbed(picture(n), 50))
        for n in range(wanted):
            save(root / "ref" / style / "images" / f"r{n}.png", picture(40 + n + int(style)))
    return root


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def files_of(folder: Path) -> dict[str, list[Path]]:
    return {p.name: sorted(p.rglob("*.png")) for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def judge(weights: dict[str, str]) -> Judge:
    return Judge(Extractors(weights), WORDS, FeatureStore())


@pytest.fixture(scope="module")
def measured(judge: Judge, sets: Path) -> Measured:
    return judge.measure(files_of(sets / "gen"), files_of(sets / "ref"))


def as_tensor(paths: list[Path]) -> torch.Tensor:
    pixels = np.stack([np.asarray(Image.open(p)) for p in paths])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@pytest.mark.parametrize("which", ["pooled", "last"])
def test_fid_equals_torchmetrics_over_64_features(
    which: str, measured: Measured, sets: Path, weights: dict[str, str], peer: Any
) -> None:
    fid = peer("eval", "torchmetrics.image.fid").FrechetInceptionDistance(
        feature=64, feature_extractor_weights_path=weights["inception"], antialias=False
    )
    fid.set_dtype(torch.float64)
    gen, ref = files_of(sets / "gen"), files_of(sets / "ref")
    styles = list(gen) if which == "pooled" else list(gen)[-1:]
    fid.update(as_tensor([p for s in styles for p in ref[s]]), real=True)
    fid.update(as_tensor([p for s in styles for p in gen[s]]), real=False)
    expected = float(fid.compute())
    scores = measured.scores()
    assert scores[f"official, fid_{which}"][0].fid == pytest.approx(expected, rel=1e-3)
    assert scores["corrected"][0].fid == measured.fid(list(gen))


def test_lpips_is_the_mean_over_all_pairs_of_a_style(
    measured: Measured, sets: Path, weights: dict[str, str]
) -> None:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips

        package = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    state = torch.load(weights["lpips_squeeze"], weights_only=True)
    with torch.no_grad():
        for part in (m for n, m in package.net.named_children() if n.startswith("slice")):
            for key, tensor in part.state_dict(keep_vars=True).items():
                tensor.copy_(state[f"features.{key}"])
        means = []
        gen, ref = files_of(sets / "gen"), files_of(sets / "ref")
        for style, files in gen.items():
            sides = []
            for paths in (files, ref[style]):
                small = [Image.open(p).resize((256, 256), Image.Resampling.BILINEAR) for p in paths]
                pixels = torch.from_numpy(np.stack([np.asarray(s) for s in small]))
                sides.append(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
            pairs = [float(package(a[None], b[None])) for a in sides[0] for b in sides[1]]
            means.append(np.mean(pairs))
    assert measured.terms("official", 0.0).lpips == pytest.approx(np.mean(means), abs=1e-6)


def test_styles_count_alike_however_many_pictures_they_have(measured: Measured) -> None:
    """DINO, histograms and quality are means of means; retrieval is over all pictures."""
    dino = [measured.rows[style][:, 0] for style in ("00", "01")]
    assert measured.terms("official", 0.0).dino == pytest.approx(
        (dino[0].mean() + dino[1].mean()) / 2
    )
    found = np.concatenate([measured.rows[style][:, 2] for style in ("00", "01")])
    assert measured.terms("official", 0.0).clip_r == pytest.approx(found.mean())
    assert set(found) <= {0.0, 1.0}


def test_official_does_not_see_blue_and_corrected_does(judge: Judge, tmp_path: Path) -> None:
    """Pictures that differ in blue alone have equal histograms for the official scorer, and its
    term, of which the HSV half sees blue, loses less than half of what the corrected one does."""
    plain = [picture(n) for n in range(3)]
    for n, pixels in enumerate(plain):
        turned = pixels.copy()
        turned[..., 2] = 255 - turned[..., 2]
        save(tmp_path / "ref" / "00" / f"r{n}.png", pixels)
        save(tmp_path / "gen" / "00" / f"cat{n}.png", turned)
        save(tmp_path / "own" / "00" / f"cat{n}.png", pixels)
    references = files_of(tmp_path / "ref")
    from toolkit.measures.competition_histograms import correlation, rgb_histogram

    blue, own = (np.asarray(Image.open(tmp_path / d / "00" / "cat0.png")) for d in ("gen", "own"))
    assert correlation(rgb_histogram(blue, True), rgb_histogram(own, True)) == pytest.approx(1)
    assert correlation(rgb_histogram(blue, False), rgb_histogram(own, False)) < 0.9
    turned, same = (judge.measure(files_of(tmp_path / d), references) for d in ("gen", "own"))
    lost = same.terms("corrected", 0.0).hist - turned.terms("corrected", 0.0).hist
    official = same.terms("official", 0.0).hist - turned.terms("official", 0.0).hist
    assert lost > 2 * official


def test_copies_are_found_among_pictures_that_are_none(judge: Judge, tmp_path: Path) -> None:
    for n in range(4):
        save(tmp_path / "ref" / f"r{n}.png", picture(60 + n, 128))
    save(tmp_path / "gen" / "copy.png", disturbed(picture(62, 128), 6))
    save(tmp_path / "gen" / "new.png", picture(90, 128))
    gen, ref = (sorted((tmp_path / d).iterdir()) for d in ("gen", "ref"))
    found = {one.picture: one for one in nearest(gen, ref, judge)}
    assert found["copy.png"].bits <= 4
    assert found["copy.png"].is_copy
    assert found["new.png"].bits > 8


def test_the_command_tells_both_modes_and_copies(
    call: Any, sets: Path, weights: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = ",".join(f"{name}:{place}" for name, place in weights.items())
    flags = [f"--folder={sets / 'gen'}", f"--references={sets / 'ref'}", f"--weights={places}"]
    done = call(score.main, *flags, f"--held_out={sets / 'ref'}")
    assert done.code == 0, done.err
    for words in ("7 pictures of 2 styles", "official, fid_pooled", "official, fid_last",
                  "corrected", "against held-out references", "--words=FILE"):  # fmt: skip
        assert words in done.out, words
    text = Path("score.txt").read_text()
    rows = [line.split("\t") for line in text.splitlines() if line.startswith("score")]
    assert len(rows) == 2
    assert all(0 < float(value) < 1 for value in rows[0][1:])
    assert rows[0] == rows[1]  # held-out pictures that are the references
    assert "is no" not in text


def test_mistakes_are_one_line(call: Any, sets: Path, tmp_path: Path) -> None:
    gen, ref = f"--folder={sets / 'gen'}", f"--references={sets / 'ref'}"
    for flags, words in (
        (("--dino=0.1",), "all six terms are needed, or --folder=DIR"),
        ((gen,), "goes with --references=DIR"),
        ((gen, ref, "--dino=0.1"), "--dino goes without --folder"),
        ((f"--folder={tmp_path}", ref), "there are no pictures as STYLE/NAME.png"),
        ((gen, f"--references={sets / 'ref' / '00'}"), "has no pictures of the style 00"),
    ):
        assert words in call(score.main, *flags).refusal(), flags
