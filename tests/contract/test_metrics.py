"""What every metric and every extractor must do, found by file name: a new one is tested by
existing. Networks are the real classes with tiny random weights, saved as the real files are."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval.feature_store import FeatureStore
from eval.features.api import Extractors, MissingWeights, extractor_names
from eval.metrics import metric_names, open_metric
from eval.metrics.api import Metric, SetMetric, Tools
from tests.eval.pictures import disturbed, picture
from tests.twins import EXTRACTORS
from toolkit.core.errors import UserError

NOT_SYMMETRIC = {"cfsd"}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """Everything that metrics are opened with; weights are made when they are first asked for."""
    root = tmp_path_factory.mktemp("weights")
    made = {}

    class Made(dict[str, str]):
        def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
            if name in EXTRACTORS and name not in made:
                made[name] = str(EXTRACTORS[name](root / name))
            return made.get(name, default)

    return Tools(Extractors(Made()))


def opened(name: str, tools: Tools) -> Metric | SetMetric:
    return open_metric(name, tools)


def singles() -> list[str]:
    """Metrics of a picture beside a picture, told by what is in their files."""
    return [
        name for name in metric_names()
        if name not in ("fid", "kid", "art_fid", "clip_score", "clip_r", "clip_iqa", "style_top1")
    ]  # fmt: skip


@pytest.mark.parametrize("name", singles())
def test_identity_is_best_and_a_disturbed_picture_is_worse(name: str, tools: Tools) -> None:
    metric = opened(name, tools)
    assert isinstance(metric, Metric)
    reference = picture(0)
    own = metric.extractor.look(reference)
    assert metric.score(own, metric.extractor.look(reference.copy())) == pytest.approx(
        metric.best, abs=1e-6
    )
    scores = [
        metric.score(metric.extractor.look(disturbed(reference, amount)), own)
        for amount in (10, 80)
    ]
    near, far = scores if metric.better == "lower" else (-scores[0], -scores[1])
    best = metric.best if metric.better == "lower" else -metric.best
    assert best < near < far


@pytest.mark.parametrize("name", sorted({*singles()} - NOT_SYMMETRIC))
def test_symmetric_and_leaves_its_input_alone(name: str, tools: Tools) -> None:
    metric = opened(name, tools)
    assert isinstance(metric, Metric)
    a, b = picture(2), picture(3)
    copies = a.copy(), b.copy()
    seen = metric.extractor.look(a), metric.extractor.look(b)
    there, back = metric.score(*seen), metric.score(seen[1], seen[0])
    assert there == pytest.approx(back, rel=1e-6)
    assert np.array_equal(a, copies[0])
    assert np.array_equal(b, copies[1])


@pytest.mark.parametrize("name", [n for n in metric_names() if n != "style_top1"])
def test_says_what_it_is(name: str, tools: Tools) -> None:
    metric = opened(name, tools)
    assert metric.name == name
    assert metric.unit
    assert metric.better in ("higher", "lower")
    assert importlib.import_module(f"eval.metrics.{name}").__doc__


@pytest.mark.parametrize("name", extractor_names())
def test_features_depend_on_the_picture_alone(name: str, tools: Tools) -> None:
    """Whatever was looked at before, the same numbers to the bit; they survive being stored."""
    extractor = tools.extractors[name]
    first, other = picture(4), picture(5)
    seen = extractor.look(first)
    extractor.look(other)
    again = extractor.look(first)
    assert all(np.array_equal(a, b) for a, b in zip(seen, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(seen, extractor.look(other), strict=True))
    assert all(np.isfinite(part).all() for part in seen)
    store = FeatureStore()
    store.keep_features(extractor.fingerprint, "one", seen)
    kept = store.features(extractor.fingerprint, "one")
    assert kept is not None
    assert all(np.array_equal(a, b) for a, b in zip(seen, kept, strict=True))


@pytest.mark.parametrize("name", extractor_names())
def test_only_whole_numbers_from_0_to_255_are_pictures(name: str, tools: Tools) -> None:
    extractor = tools.extractors[name]
    for wrong in (picture(0) / 255, picture(0).astype(np.float32) / 127.5 - 1, picture(0)[..., 0]):
        with pytest.raises(ValueError, match="a picture is uint8"):
            extractor.look(wrong)


@pytest.mark.parametrize("name", extractor_names())
def test_identities_are_of_the_weights(name: str, tools: Tools) -> None:
    identity = json.loads(json.dumps(dict(tools.extractors[name].identity)))
    assert identity
    if name in EXTRACTORS:
        assert "weights" in json.dumps(identity)


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_missing_weights_come_with_the_command_that_gets_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MissingWeights) as caught:
        Extractors()[name]
    assert caught.value.command.startswith(("hf download", "python -c"))
    assert caught.value.size


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_weights_of_something_else_are_one_line(name: str, tmp_path: Path, tools: Tools) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "config.json").write_text("{}")
    (tmp_path / "wrong.pth").write_bytes(b"not a file of weights")
    for place in (wrong, tmp_path / "wrong.pth", tmp_path / "absent"):
        with pytest.raises(UserError) as caught:
            Extractors({name: str(place)})[name]
        assert "\n" not in str(caught.value)
        assert str(place) in str(caught.value)


@pytest.fixture(scope="module")
def store() -> FeatureStore:
    """What was looked at for one metric is not looked at for the next."""
    return FeatureStore()


def sets(
    store: FeatureStore, metric: SetMetric, groups: list[list[np.ndarray]]
) -> Callable[[int], object]:
    looked_at, kept = metric.extractor, metric.extractor.fingerprint
    for number, group in enumerate(groups):
        for index, pixels in enumerate(group):
            if store.features(kept, f"{number}-{index}") is None:
                store.keep_features(kept, f"{number}-{index}", looked_at.look(pixels))
    return lambda number: store.set_of(
        metric.extractor.fingerprint, metric.which,
        [f"{number}-{index}" for index in range(len(groups[number]))],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["fid", "kid", "art_fid"])
def test_sets_are_nearest_to_themselves(name: str, tools: Tools, store: FeatureStore) -> None:
    metric = opened(name, tools)
    assert isinstance(metric, SetMetric)
    same = [picture(seed) for seed in range(8)]
    noisy = [disturbed(pixels, 30) for pixels in same]
    noisier = [disturbed(pixels, 110) for pixels in same]
    of = sets(store, metric, [same, noisy, noisier])
    means = {"lpips": 0.5}
    found = [metric.distance(of(number), of(0), means) for number in range(3)]
    values = [score.value for score in found]
    assert values[0] < values[1] < values[2]
    back = metric.distance(of(0), of(2), means).value
    assert back == pytest.approx(values[2], rel=1e-5)
    if name == "fid":
        assert values[0] == pytest.approx(0, abs=1e-6)
        assert found[1].expected > 0
        assert "few for 2048 features" in found[1].notes[0]
    if name == "art_fid":
        assert values[0] == pytest.approx(1.5, abs=1e-6)
