"""What is read from sidecars trains as what is encoded while training, on the sample data."""

import dataclasses
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import RunCommand, copied, words_of
from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from toolkit.stream.batch import Batch
from toolkit.stream.loader import Loader
from train.data import facts_of_data, open_data
from train.methods.style_adapter.config import AdapterConfig, Config, DropoutConfig, needs, settle
from train.methods.style_adapter.distilled import Distilled
from train.settings import fresh_config

DATA = fresh_config("style_adapter", "smoke", {}).data


@pytest.fixture(scope="module")
def stored(
    sample_data: Layout, pixart_weights: dict[str, str], tmp_path_factory: pytest.TempPathFactory,
    run_command: RunCommand,
) -> Layout:  # fmt: skip
    """The sample data with what every frozen encoder makes of it."""
    folder = tmp_path_factory.mktemp("stored")
    layout = Layout(folder / "shards", folder / "manifests")
    for kind in ("shards", "manifests"):
        shutil.copytree(getattr(sample_data, kind), getattr(layout, kind))
    backbone, clip = pixart_weights["backbone"], pixart_weights["image_encoder"]
    for words in (
        ["true", "--encoder=autoencoder_kl", f"--weights={backbone}/vae", "--sidecar=latents"],
        ["true", "--encoder=clip_image", f"--weights={clip}", "--sidecar=clip_image",
         "--outputs=embedding,tokens"],
        ["true", "--encoder=t5", f"--weights={backbone}/text_encoder", "--sidecar=t5"],
    ):  # fmt: skip
        size = [] if "--encoder=t5" in words else ["--target_size=64"]
        done = run_command(
            "toolkit.encode", *words, *size, "--dtype=float32", f"--shards={layout.shards}",
            f"--manifests={layout.manifests}", cwd=folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return layout


def opened(config: Config, layout: Layout) -> tuple[Config, Batch]:
    wanted = needs(config)
    data = open_data(DATA, wanted, layout)
    config = settle(config, facts_of_data(data))
    loader = Loader(
        data.selections, {"main": 3, "fill50k": 1}, 8, config.image_size, 3, workers=0,
        roles=wanted.roles, features=data.features,
    )  # fmt: skip
    batch = next(iter(loader))
    loader.close()
    return config, batch


@pytest.mark.slow
@pytest.mark.parametrize("path", ["sdedit", "control"])
@pytest.mark.parametrize("source", ["embedding", "patches"])
def test_the_loss_is_the_same(
    stored: Layout, pixart_weights: dict[str, str], path: Any, source: Any
) -> None:
    base = Config(
        content_path=path, control_layers=2, image_size=64, dropout=DropoutConfig(0.2, 0.2, 0.2),
        adapter=AdapterConfig(layers=2, source=source), **pixart_weights,
    )  # fmt: skip
    found = []
    for is_stored in (True, False):
        config, batch = opened(dataclasses.replace(base, stored=is_stored), stored)
        method = Distilled(config, 0)
        method.calibrate(iter([batch]))
        with torch.no_grad():
            for name, parameter in method.module().named_parameters():
                if parameter.requires_grad:
                    g = torch.Generator().manual_seed(len(name))
                    parameter.add_(torch.randn(parameter.shape, generator=g) * 0.1)
            found.append((batch.keys, method.training_loss(batch), method.module().no_text))
    (keys, loss, none), (live_keys, live_loss, live_none) = found
    assert keys == live_keys
    assert none.abs().sum() > 0
    torch.testing.assert_close(none, live_none, atol=1e-4, rtol=1e-4)
    # pictures are decoded once more by the encoder's own reader, to the same bytes
    torch.testing.assert_close(loss.per_sample, live_loss.per_sample, atol=1e-3, rtol=1e-3)


def test_sidecars_of_another_kind_are_refused(
    stored: Layout, pixart_weights: dict[str, str]
) -> None:
    config = Config(image_size=64, control_layers=2, **pixart_weights)
    other = dataclasses.replace(config.sidecars, latents="clip_image")
    with pytest.raises(UserError, match="was made by clip_image, not by autoencoder_kl"):
        opened(dataclasses.replace(config, sidecars=other), stored)
    with pytest.raises(UserError, match="--image_size=128: the stored latents are of 64 pixels"):
        opened(dataclasses.replace(config, image_size=128), stored)


@pytest.mark.slow
def test_what_is_not_encoded_comes_with_the_command_that_runs(
    sample_data: Layout, pixart_weights: dict[str, str], tmp_path: Path, run_command: RunCommand
) -> None:
    layout = copied(sample_data, tmp_path)
    config = Config(
        image_size=64, control_layers=2, adapter=AdapterConfig(layers=2, source="patches"),
        **pixart_weights,
    )  # fmt: skip
    with pytest.raises(UserError) as caught:
        opened(config, layout)
    told = str(caught.value).split("; ")
    datasets = {"latents": "content, fill50k and teacher have", "t5": "fill50k and teacher have",
                "clip_image": "content, fill50k and wikiart have"}  # fmt: skip
    assert len(told) == len(datasets)
    for line, (name, have) in zip(told, datasets.items(), strict=True):
        what, _, command = line.partition(": make it with python -m ")
        assert what == f"{have} no sidecar {name}"
        module, *words = shlex.split(command)
        done = run_command(module, *words, *words_of(layout))
        assert done.returncode == 0, done.stderr
    settled, _ = opened(config, layout)
    assert settled.embedding_dim


def test_folders_that_hold_no_pipeline_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    lacking = "holds no pipeline of PixArt-alpha, transformer, text_encoder, scheduler are not in"
    with pytest.raises(UserError, match=f"--backbone=.*: {lacking}"):
        needs(Config(backbone=str(tmp_path), image_size=64))
    for name in ("nothing", "./no/folder"):
        with pytest.raises(UserError, match=f"--backbone={name}: there is no such folder"):
            needs(Config(backbone=name, image_size=64))


def test_where_the_folder_is_not_it_is_one_line(tmp_path: Path) -> None:
    from train.methods.style_adapter.student import load_backbone

    with pytest.raises(UserError, match=r"holds no usable weights|there is no such folder"):
        load_backbone(str(tmp_path))
