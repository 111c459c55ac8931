"""Quality control on real photographs and paintings, damaged and stylised on purpose: limits that
were fitted to others catch what they must and let pass what they must."""

from pathlib import Path

import numpy as np
import pytest

from bench.quality import _labelled, _pictures
from toolkit.teachers.calibration import GOOD, caught, precision_and_recall
from toolkit.teachers.grading import default_limits

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1200)
def test_damaged_pictures_are_caught_and_honest_ones_pass(shared_data: Path) -> None:
    rng = np.random.default_rng(77)
    photos, paintings = (_pictures(shared_data / name, 512) for name in ("photos", "paintings"))
    chosen = [photos[i] for i in rng.permutation(len(photos))[:30]]
    samples = [s for s in _labelled(chosen, paintings, rng, "real") if s.label != "apart"]
    found = caught(samples, default_limits())
    good = found.pop(GOOD)
    assert good.count == 180
    assert good.refused / good.count <= 0.05
    shares = {label: c.refused / c.count for label, c in found.items()}
    assert len(shares) == 8
    assert min(shares.values()) >= 0.85, shares
    assert precision_and_recall(samples, default_limits())[1] >= 0.95
