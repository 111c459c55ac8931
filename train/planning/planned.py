"""The configuration of a run that is planned: as it would be settled, with folders of
configurations in the place of pretrained models."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from toolkit.core.errors import UserError
from toolkit.encoders.loading import PLANNED
from train.config import RunConfig
from train.methods.needs import DataFacts
from train.planning.architectures import copied, skeleton
from train.planning.example import assumed
from train.runs import settled

_MODELS = ("backbone", "image_encoder")
_AUTOENCODER = "stabilityai/sd-vae-ft-ema"


@contextmanager
def planned(settings: RunConfig) -> Iterator[tuple[RunConfig, DataFacts]]:
    """The settled configuration and what is assumed of its data; inside, its folders are there.

    Raises UserError: a model whose sizes are known neither here nor on this machine.
    """
    with TemporaryDirectory(prefix="tessera-plan-") as folder:
        config = _with_models(settings, Path(folder))
        facts = assumed(settings)
        yield settled(config, facts), facts


def _with_models(settings: RunConfig, folder: Path) -> RunConfig:
    own: Any = settings.method_config
    names = {field.name for field in fields(own)}
    changed: dict[str, str] = {}
    for name in _MODELS:
        if name in names and getattr(own, name):
            changed[name] = str(_model(settings, getattr(own, name), folder / name))
    if getattr(own, "lpips_weight", 0):
        (folder / PLANNED).touch()
        changed["lpips_weights"] = str(folder / PLANNED)
    if "backbone" in names and "weights" in names:  # of one file, whose sizes are the backbone's
        changed["weights"] = ""
    elif "weights" in names and "autoencoder_kl" in getattr(own, "made_by", ""):
        changed["weights"] = str(_model(settings, own.weights or _AUTOENCODER, folder / "w"))
    elif "taef2" in getattr(own, "made_by", "") and not own.weights:  # it has one size
        (folder / "w").mkdir()
        (folder / "w" / PLANNED).write_text(settings.device.partition(":")[0], "utf-8")
        changed["weights"] = str(folder / "w")
    return replace(settings, method_config=replace(own, **changed))


def _model(settings: RunConfig, name: str, folder: Path) -> Path:
    """A folder of the configurations of a model: of one that comes with a method, of a folder, of
    one that was downloaded, of one that is known."""
    beside = Path(__file__).parents[1] / "methods" / settings.method / "weights" / name
    device = settings.device.partition(":")[0]
    tries: list[Callable[[], Path]] = [
        lambda: copied(beside, folder, device), lambda: copied(Path(name), folder, device),
        lambda: copied(_downloaded(name), folder, device),
        lambda: skeleton(name, folder, device),
    ]  # fmt: skip
    for attempt in tries[:3]:
        try:
            return attempt()
        except UserError:
            shutil.rmtree(folder, ignore_errors=True)
    return tries[3]()


def _downloaded(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except Exception as error:
        raise UserError(f"{hub_id} is not on this machine") from error
