"""What a new user meets first: wrong names, each answered in one line with the nearest one."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Call, ToySource, encoded, picture
from toolkit.core.records import Record
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.recipe import Recipe, write_recipe

MIX = "--mix=main:1"

REFUSED = [
    # sub-commands
    (["toolkit.inspect", "stts"], "did you mean stats?"),
    (["toolkit.teach", "protocl", "list"], "did you mean protocol?"),
    (["toolkit.teach", "protocol", "shw"], "did you mean show?"),
    (["train.lora", "convrt"], "did you mean convert?"),
    (["train.pretrain", "begni"], "did you mean begin?"),
    # flags, also of configurations, of sources, and those of all commands
    (["toolkit.query", "--wher=true"], "did you mean --where?"),
    (["toolkit.query", "--quite"], "did you mean --quiet?"),
    (["toolkit.query", "--log=jsn"], "did you mean json?"),
    (["train.run", "--optim.schedul=cosine"], "did you mean --optim.schedule?"),
    (["train.run", "--learning.lr=1"], "did you mean --optim.lr?"),
    (["toolkit.pack", "folder", "--caption_form=name"], "did you mean --caption_from?"),
    # values of flags that take a few
    (["toolkit.query", "--format=jsno"], "did you mean json?"),
    (["toolkit.pairs", "--balance=stlye"], "did you mean style?"),
    (["train.run", "--data.crop=randm"], "did you mean random?"),
    # names in the data
    (["toolkit.query", "--datasets=photo"], "did you mean photos?"),
    (["toolkit.inspect", "ls", "photoss"], "did you mean photos?"),
    (["toolkit.inspect", "show", "photoss/photo0"], "did you mean photos?"),
    (["toolkit.inspect", "show", "photos/foto0"], "did you mean photo0?"),
    (["toolkit.verify", "photoss"], "did you mean photos?"),
    (["toolkit.teach", "grade", "--name=target"], "did you mean targets?"),
    (["toolkit.teach", "export", "--name=target", "--out=there"], "did you mean targets?"),
    (["train.run", "--main=target", MIX], "did you mean targets?"),
    (["train.run", "--main=targets", "--mix=main:1,circle:1"], "did you mean circles?"),
    (["toolkit.plan", "--main=target", MIX], "did you mean targets?"),
    (["eval.run", "--folder=out", "--contents=photo", "--styles=paintings"],
     "did you mean photos?"),
    # columns and their values
    (["toolkit.query", "stlye='Cubism'"], "did you mean style?"),
    (["toolkit.query", "--columns=kee"], "did you mean key?"),
    (["toolkit.query", "--group_by=stlye"], "did you mean style?"),
    (["toolkit.query", "--order_by=widht"], "did you mean width?"),
    (["toolkit.dedup", "--same=artst"], "did you mean artist?"),
    (["toolkit.encode", "style='cubsm'", "--encoder=haar"], "did you mean 'Cubism'?"),
    (["train.run", "--main=targets", MIX, "--where=style='Cubsm'"], "did you mean 'Cubism'?"),
    (["train.sweep", "style_adapter", "--main=targets", MIX, "--by=style", "--only=Cubsm"],
     "did you mean Cubism?"),
    # sidecars
    (["toolkit.encode", "dataset='photos'", "--sidecar=latent", "--export_folder=there"],
     "did you mean latents?"),
    (["train.run", "ot_cfm", "--main=photos", MIX, "--sidecar=latent"], "did you mean latents?"),
    # what the program has by name
    (["toolkit.encode", "true", "--encoder=har"], "did you mean haar?"),
    (["toolkit.encode", "true", "--encoder=haar", "--outputs=latnt"], "did you mean latent?"),
    (["toolkit.pack", "foldr"], "did you mean folder?"),
    (["toolkit.teach", "--protocol=renhard"], "did you mean reinhard?"),
    (["toolkit.teach", "protocol", "show", "a-fxed"], "did you mean a-fixed?"),
    (["train.run", "otcfm"], "did you mean ot_cfm?"),
    (["train.run", "--config=smok"], "did you mean smoke?"),
    (["eval.run", "--folder=out", "--metrics=lpipz"], "did you mean lpips?"),
    (["eval.run", "--folder=out", "--weights=dinov:x"], "did you mean dinov2?"),
    # runs
    (["train.run", "--main=targets", MIX, "--init_from=demoo"], "did you mean runs/demo?"),
    (["train.run", "--name=demoo", "--resume"], "did you mean --run=runs/demo?"),
    (["train.stylize", "--run=runs/demoo"], "did you mean --run=runs/demo?"),
    (["train.ema", "--run=demoo", "--sigma_rel=0.1"], "did you mean --run=runs/demo?"),
    (["eval.run", "--run=runs/demoo"], "did you mean --run=runs/demo?"),
    (["eval.report", "--run=demo"], "did you mean --run=runs/demo?"),
    (["eval.compare", "demoo", "demo"], "did you mean demo?"),
]  # fmt: skip


@pytest.fixture
def workplace(triplets: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A folder with packed data, a sidecar `latents` of photos that says how it is made, a folder
    of pictures, and the configuration and checkpoints of a run."""
    monkeypatch.chdir(triplets.shards.parent)
    write_recipe(triplets, "photos", "latents", Recipe({"encoder": "haar"}, ("latent",)))
    run = Path("runs/demo")
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.toml").write_text('method = "style_adapter"\n')
    Path("out").mkdir()
    Path("out/photo0_painting0.jpg").write_bytes(encoded(picture(1)))
    return triplets


@pytest.mark.parametrize(
    ("line", "expected"), REFUSED, ids=[" ".join(line)[:70] for line, _ in REFUSED]
)
def test_a_wrong_name_is_answered_with_the_nearest(
    line: list[str], expected: str, workplace: Layout, run_command: Any
) -> None:
    done = run_command(*line, cwd=Path.cwd())
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" or "--init_from" in line[-1]  # weights are read last
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert expected in done.stderr


@pytest.mark.parametrize(
    "line",
    [["toolkit.query", "style='Cubsm'"], ["toolkit.inspect", "stats", "style='Cubsm'"],
     ["toolkit.dedup", "style='Cubsm'"]],
    ids=lambda line: line[0],
)  # fmt: skip
def test_a_value_that_no_row_has_is_a_warning_where_nothing_is_a_result(
    line: list[str], workplace: Layout, run_command: Any
) -> None:
    done = run_command(*line, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert "no row has style 'Cubsm': did you mean 'Cubism'?" in done.stderr


def test_names_far_from_all_are_answered_with_a_list(call: Call, workplace: Layout) -> None:
    from toolkit.query import main

    text = call(main, "--datasets=zzz", workplace).refusal()
    assert "packed are circles, paintings, photos, targets" in text
    assert "did you mean" not in text


def test_the_same_style_in_capitals_is_near(tmp_path: Path, call: Call) -> None:
    from toolkit.query import main

    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    record = Record({"jpg": encoded(picture(1))}, style="Ukiyo_e")
    pack(ToySource("one", {"a": record}), "one", layout, 5)
    assert "did you mean 'Ukiyo_e'?" in call(main, "style='UKIYO_E'", layout).err
