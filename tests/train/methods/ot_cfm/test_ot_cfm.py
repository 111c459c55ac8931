"""The method in real runs: labels, couplings, standardised latents, translation of pictures."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import words_of
from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.encoders.api import open_encoder
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.stream.batch import Batch
from train import run as train_run
from train import stylize
from train.accumulate import backward
from train.data import facts_of_data, open_data, open_loader
from train.methods.ot_cfm import method, translate
from train.methods.ot_cfm.config import Config, NetConfig, Stylize, settle
from train.methods.ot_cfm.method import NOISE_SEED, TIME_SEED, Method
from train.numerics import open_numerics
from train.parts.noise import normal, sample_generators
from train.runs import build_method, needs_of, settled
from train.settings import fresh_config

SMALL = {
    "threads": "1", "data.batch_size": "12", "data.workers": "0",
    "method_config.net.hidden_dim": "16", "method_config.net.num_layers": "1",
    "method_config.net.time_dim": "16", "method_config.net.style_dim": "8",
}  # fmt: skip
FLAGS = (
    *(f"--{name}={value}" for name, value in SMALL.items()), "--steps=6", "--save_interval=3",
    "--num_pairs=2", "--eval_size=4", "--sample.steps=1", "--eval_every=3", "--sample_every=6",
)  # fmt: skip
STYLES = ("content", "Cubism", "Impressionism", "Northern_Renaissance", "Pointillism", "Ukiyo_e")


@pytest.fixture
def stream(encoded_data: Layout) -> Callable[..., tuple[Method, Iterator[Batch]]]:
    """`stream(coupling="c2ot")`: a method and the batches that it would be trained on."""

    def start(**changes: str) -> tuple[Method, Iterator[Batch]]:
        named = {f"method_config.{name}": value for name, value in changes.items()}
        settings = fresh_config("ot_cfm", "smoke", {**SMALL, **named})
        needs = needs_of(settings)
        data = open_data(settings.data, needs, encoded_data)
        settings = settled(settings, facts_of_data(data))

        def batches() -> Iterator[Batch]:
            with open_loader(settings, data, needs_of(settings), encoded_data) as loader:
                yield from loader

        return build_method(settings), batches()

    return start


def test_styles_sizes_and_encoder_are_settled_by_the_data(stream: Any) -> None:
    method, _ = stream()
    config = method.config
    assert config.styles == STYLES
    assert (config.size, config.net.channels) == (64, 192)
    assert json.loads(config.encoder)["encoder"] == "haar"
    named, _ = stream(styles=",".join(reversed(STYLES)))
    assert named.config.styles == STYLES[::-1]
    with pytest.raises(UserError, match="no sample is of the style Dada"):
        stream(styles="content,Dada")
    with pytest.raises(UserError, match="--styles leaves out Impressionism"):
        stream(styles="content,Cubism")


def test_a_sample_is_of_its_style_or_of_the_one_called_as_its_task(stream: Any) -> None:
    method, batches = stream()
    batch = next(batches)
    for name, style, label in zip(
        batch.keys, batch.style_names, method._labels(batch).tolist(), strict=True
    ):
        assert STYLES[label] == (style or "content")
        if style:
            assert name.startswith(style.lower())
    assert (batch.task == 0).sum() == 6
    odd = dataclasses.replace(batch, style_names=("Dada",) * len(batch))
    assert method._labels(odd).tolist() == [len(STYLES)] * len(batch)  # none


def test_tasks_are_the_labels_on_request(stream: Any) -> None:
    method, batches = stream(labels="task")
    assert method.config.styles == ("content", "wikiart")
    batch = next(batches)
    assert method._labels(batch).tolist() == batch.task.tolist()
    assert any(batch.style_names)
    with pytest.raises(UserError, match="no sample is of the style Cubism"):
        stream(labels="task", styles="content,Cubism")


def test_latents_are_standardised_by_the_first_samples_of_the_stream(stream: Any) -> None:
    method, batches = stream(calibration="30")
    method.calibrate(batches)
    _, again = stream()
    values = torch.cat([batch.features["latent"][0] for batch in islice(again, 3)])[:30].double()
    values = values / (128 * 8)  # as models see Haar's
    standard = (values - method.net.mean) / method.net.std
    by_channel = standard.transpose(0, 1).flatten(1)
    torch.testing.assert_close(by_channel.mean(1), torch.zeros(192).double(), atol=1e-4, rtol=0)
    spread = by_channel.std(1)
    assert (spread[spread > 0.1] - 1).abs().max() < 1e-4
    assert set(method.trainable_state()) >= {"mean", "std"}


def test_the_loss_is_that_of_the_straight_path(stream: Any) -> None:
    """With a network that gives nothing, it is the mean square of data minus noise."""
    method, batches = stream()
    batch = next(batches)
    method.calibrate(iter([batch] * 20))
    loss = method.training_loss(batch).per_sample
    data = method._standard(batch.features["latent"][0].float() / (128 * 8))
    noise = normal(sample_generators(batch.sample_seed), data.shape[1:], "cpu")
    torch.testing.assert_close(loss, (data - noise).square().flatten(1).mean(1))


@pytest.mark.parametrize("coupling", ["ot_hungarian", "c2ot", "ot_exact"])
def test_couplings_reorder_noise_and_whole_samples(stream: Any, coupling: str) -> None:
    method, batches = stream(coupling=coupling)
    batch = next(batches)
    method.calibrate(iter([batch] * 20))
    paired = method.prepare(batch)
    seeds = paired.features[NOISE_SEED][0]
    assert set(seeds.tolist()) <= set(batch.sample_seed.tolist())
    rows = {key: row for row, key in enumerate(batch.keys)}
    for row, key in enumerate(paired.keys):  # everything of a sample went with it
        old = rows[key]
        assert torch.equal(paired.features["latent"][0][row], batch.features["latent"][0][old])
        assert paired.style_names[row] == batch.style_names[old]
        assert paired.sample_seed[row] == batch.sample_seed[old]
    if coupling != "ot_exact":
        assert paired.keys == batch.keys
        assert sorted(seeds.tolist()) == sorted(batch.sample_seed.tolist())
    if coupling == "c2ot":
        label_of = dict(zip(batch.sample_seed.tolist(), batch.style_names, strict=True))
        assert tuple(label_of[seed] for seed in seeds.tolist()) == paired.style_names

    def cost(seeds: torch.Tensor, of: Batch) -> float:
        data = method._standard(of.features["latent"][0].float() / (128 * 8))
        noise = normal(sample_generators(seeds), data.shape[1:], "cpu")
        return float((data - noise).square().sum())

    if coupling != "ot_exact":
        assert cost(seeds, paired) < cost(batch.sample_seed, batch)
        whole = float(method.training_loss(paired).per_sample.detach().sum())
        assert whole * 192 * 64 == pytest.approx(cost(seeds, paired), rel=1e-4)


def test_copies_of_a_pair_are_trained_at_times_of_their_own(stream: Any) -> None:
    method, batches = stream(coupling="ot_exact")
    paired = method.prepare(next(batches))
    assert len(set(paired.keys)) < len(paired)  # drawn with replacement
    seeds = paired.features[TIME_SEED][0].tolist()
    assert len(set(seeds)) == len(paired)
    seen: list[torch.Tensor] = []
    method._velocity = lambda x, t, labels: seen.append(t) or torch.zeros_like(x)
    method.training_loss(paired)
    assert len(set(seen[0].tolist())) == len(paired)


def test_without_dropped_labels_there_is_no_guidance(stream: Any) -> None:
    method, _ = stream(label_drop="0")
    x, labels = torch.randn(2, 192, 8, 8), torch.tensor([0, 1])
    plain = Stylize(steps=1, solver="euler", guidance=1.0)
    assert torch.isfinite(method.translator.generate(x, labels, plain)).all()
    with pytest.raises(UserError, match="trained with --label_drop=0"):
        method.translator.generate(x, labels, dataclasses.replace(plain, guidance=2.0))


def test_pictures_are_named_after_the_style_that_they_were_translated_to(stream: Any) -> None:
    method, _ = stream()
    assert method.style_of(Stylize(target_style="2"), None, "content") == "Impressionism"
    assert method.style_of(Stylize(target_style="Ukiyo_e"), "Cubism", "wikiart") == "Ukiyo_e"
    method, _ = stream(labels="task")
    assert method.style_of(Stylize(), None, "content") == "wikiart"
    assert method.style_of(Stylize(), "Cubism", "wikiart") == "content"


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--calibration=0", "calibration=0: takes 1 or more"),
        ("--label_drop=1.5", "--label_drop=1.5: takes a share from 0 to 1"),
        ("--kernel_size=4", "kernel_size=4: takes an odd number"),
        ("--hidden_dim=0", "hidden_dim=0: takes 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_one_line(
    flag: str, says: str, encoded_data: Layout, tmp_path: Path, call: Any
) -> None:
    words = ("ot_cfm", flag, f"--runs={tmp_path}", encoded_data)
    assert says in call(train_run.main, *words, fields=train_run._fields).refusal()


def test_parts_of_a_coupled_batch_give_its_gradients(stream: Any) -> None:
    found = []
    for parts in (1, 4):
        method, batches = stream(coupling="ot_hungarian")
        with torch.no_grad():
            for p in method.module().parameters():
                p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
        batch = method.prepare(next(batches))
        settings = fresh_config("ot_cfm", "smoke", SMALL)
        losses = backward(method, batch, open_numerics(settings), parts)
        grads = [p.grad for p in method.module().parameters() if p.grad is not None]
        found.append((losses["loss"], grads))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(found[1][1], found[0][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_labels_are_dropped_at_their_rate(stream: Any) -> None:
    """A network that tells its label apart: the share that was told none."""
    method, batches = stream(label_drop="0.25")
    seen: list[torch.Tensor] = []
    method._velocity = lambda x, t, labels: seen.append(labels) or torch.zeros_like(x)
    for batch in islice(batches, 60):
        method.training_loss(batch)
    none = torch.cat(seen) == len(STYLES)
    assert float(none.float().mean()) == pytest.approx(0.25, abs=0.05)


# --- real commands


@pytest.fixture(scope="module")
def data(encoded_data: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A copy to which pictures can be added."""
    folder = tmp_path_factory.mktemp("ot_cfm")
    layout = Layout(folder / "s", folder / "m")
    shutil.copytree(encoded_data.manifests, layout.manifests)
    shutil.copytree(encoded_data.shards, layout.shards, symlinks=True)
    return layout


@pytest.fixture(scope="module")
def trained(data: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps."""
    runs = tmp_path_factory.mktemp("runs")
    words = ["ot_cfm", *FLAGS, f"--runs={runs}", "--name=a", *words_of(data)]
    run(train_run.main, "train.run", words, train_run._fields)
    return runs / "a"


def test_styles_are_told_and_pictures_are_left_out_on_request(
    data: Layout, tmp_path: Path, call: Any
) -> None:
    words = ("ot_cfm", *FLAGS, "--steps=1", f"--runs={tmp_path}", data)
    words = tuple(word for word in words if word not in ("--steps=6", "--sample_every=6"))
    done = call(train_run.main, *words, "--sample_every=0", fields=train_run._fields)
    assert done.code == 0, done.err
    told = next(line for line in done.out.splitlines() if line.startswith("styles: "))
    counts = dict(part.rsplit(" ", 1) for part in told.removeprefix("styles: ").split(", "))
    assert list(counts)[:3] == ["content", "Cubism", "Impressionism"]
    sizes = dict(re.findall(r"(\w+) (\d+)[,;]", done.out.partition("samples: ")[2].splitlines()[0]))
    assert counts["content"] == sizes["content"]
    assert sum(map(int, counts.values())) == sum(map(int, sizes.values()))
    assert "before the first step" not in done.out
    assert "columns: " not in done.out
    assert not list((tmp_path / "ot_cfm-smoke" / "samples").iterdir())


def stylized(call: Any, run: Path, *flags: Any) -> Any:
    return call(stylize.main, f"--run={run}", *flags, fields=stylize.options_of)


def test_a_run_shows_each_picture_in_each_style(trained: Path) -> None:
    grid = Image.open(trained / "samples" / "step-000006.png")
    assert grid.size == ((1 + 4) * 64 * 2, 2 * 64 * 2)
    text = (trained / "config.toml").read_text()
    assert 'styles = ["content", "Cubism"' in text
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert {"eval_loss", "eval_loss/content", "eval_loss/wikiart"} <= set(log[0])


def test_a_picture_and_its_latent_are_translated_alike(
    trained: Path, tmp_path: Path, call: Any
) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    codec = open_encoder("haar")
    encoded = codec.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None])["latent"]
    torch.save(codec.latents(encoded)[0], tmp_path / "x.pt")
    flags = ("--source_style=content", "--target_style=2", "--steps=3", "--solver=heun")
    for name, out in (("x.png", "a.png"), ("x.pt", "b.png")):
        done = stylized(call, trained, f"--content={tmp_path / name}", *flags,
                        f"--out={tmp_path / out}")  # fmt: skip
        assert done.code == 0, done.err
        assert "round trip, mean of 1: relative error" in done.err
        assert "(heun, 6 evaluations each way)" in done.err
    a, b = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("a.png", "b.png"))
    assert np.abs(a - b).max() <= 1
    fine = stylized(call, trained, f"--content={tmp_path / 'x.pt'}", *flags[:2],
                    "--tolerance=1e-4", f"--out={tmp_path / 'c.png'}")  # fmt: skip
    assert float(fine.err.partition("relative error ")[2].split()[0]) <= 1e-4
    torch.save({"no": "tensor"}, tmp_path / "y.pt")
    (tmp_path / "z.pt").write_bytes(b"nothing")
    (tmp_path / "v.pt").write_bytes(b"hi\n")  # torch raises a KeyError
    torch.save(torch.full((192, 8, 8), torch.nan), tmp_path / "u.pt")
    torch.save(torch.zeros(4, 8, 8), tmp_path / "w.pt")
    for name, says in (
        ("y.pt", "holds no latent [C,h,w]"), ("z.pt", "holds no tensor"),
        ("v.pt", "holds no tensor"), ("u.pt", "holds values that are not finite"),
        ("w.pt", "a latent of 4 channels: the run works on 192"),
    ):  # fmt: skip
        refused = stylized(call, trained, f"--content={tmp_path / name}", *flags)
        assert says in refused.refusal()


def test_a_tolerance_that_no_solver_keeps_is_not_missed_in_silence(
    trained: Path, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (method, translate):
        monkeypatch.setattr(module, "BUDGETS", (2, 4))
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "x.png")
    done = stylized(
        call, trained, f"--content={tmp_path / 'x.png'}", "--source_style=content",
        "--target_style=Cubism", "--tolerance=1e-20", f"--out={tmp_path / 'y.png'}",
    )  # fmt: skip
    assert done.code == 0
    said = "--tolerance=1e-20 is not reached: the most exact of all solvers within 4 evaluations"
    assert said in done.err


def test_a_querys_pictures_are_a_dataset_linked_to_their_contents(
    trained: Path, data: Layout, call: Any
) -> None:
    flags = ("--target_style=Cubism", "--steps=1", "--solver=euler", "--guidance=1")
    done = stylized(call, trained, *flags, data)
    assert done.code == 0, done.err
    assert "next: python -m eval.translation --run=" in done.out
    rows = [row for path in data.manifests_of("a-out") for row in read_manifest(path)]
    assert len(rows) == 20
    for row in rows:
        assert row["style"] == "Cubism"
        assert row["links"] == [{"role": "content", "dataset": "content", "key": row["key"]}]
        assert json.loads(row["extra"])["solver"] == "euler"
    back = stylized(call, trained, *flags, "--dataset=wikiart", "--limit=2", data)
    assert back.code == 0, back.err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--target_style=Dada",), "the run knows no style 'Dada': it has content, Cubism"),
        ((), "name the style with --target_style: content, Cubism"),
        (("--target_style=9",), "the run knows no style '9'"),
        (("--style=x.png",), "ot_cfm takes no picture for a style, name one with --target_style"),
        (("--solver=magic",), "euler, midpoint, heun, rk4, fireflow"),
        (("--solvr=rk4",), "did you mean --solver?"),
        (("--depth=2",), "--depth=2.0: takes a number above 0, at most 1"),
        (("--steps=0",), "steps=0: takes 1 or more"),
    ],
)
def test_what_cannot_be_translated_is_one_line(
    flags: tuple[str, ...], says: str, trained: Path, data: Layout, call: Any
) -> None:
    assert says in stylized(call, trained, *flags, data).refusal()


def test_data_that_do_not_do_are_one_line(data: Layout, tmp_path: Path, call: Any) -> None:
    for flags, says in (
        (("--mix=content:1",), "all samples are of one style, content: mix two datasets"),
        (("--sidecar=none",), "have no sidecar none: make it with python -m toolkit.encode"),
    ):
        refused = call(train_run.main, "ot_cfm", *FLAGS, *flags, f"--runs={tmp_path / 'r'}", data,
                       fields=train_run._fields)  # fmt: skip
        assert says in refused.refusal()
    refused = call(train_run.main, "ot_cfm", *FLAGS, "--crop=random", f"--runs={tmp_path / 'r'}",
                   data, fields=train_run._fields)  # fmt: skip
    assert "latents holds latents of one cut; encode others with --views" in refused.err


def test_settling_takes_only_latents_that_can_be_decoded() -> None:
    from train.methods.needs import DataFacts, FeatureFacts

    facts = DataFacts(
        {"a": ("x", "y")}, {"latent": FeatureFacts({"encoder": "clip_image"}, {}, (768,))}
    )
    with pytest.raises(UserError, match="clip_image, which makes no latents"):
        settle(Config(NetConfig()), facts)
    assert dataclasses.asdict(Stylize())["solver"] == "midpoint"
