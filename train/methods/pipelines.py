"""Pretrained pipelines in diffusers' layout: where one lies, and whether it is one."""

from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError

_FILES = ("*.json", "*.txt", "*/model.safetensors", "*/diffusion_pytorch_model.safetensors")


def place_of(weights: str, own: Path) -> str:
    """The folder of weights that come with a method, where that is their name; otherwise the name
    itself, a folder or a hub id. own: the method's folder of weights."""
    return str(own / weights) if weights and (own / weights).is_dir() else weights


def pretrained(place: str, size: str) -> Any:
    """A pipeline as what `toolkit.encoders.loading.load` downloads: one file of each network, of
    the many that there are. size: of all these."""
    from toolkit.encoders.loading import Pretrained  # torch comes with it

    return Pretrained(place, size, _FILES)


def check_pipeline(place: str, kind: str, parts: tuple[str, ...]) -> None:
    """Looks whether a place can be a pipeline, before anything is loaded.

    Args:
        place: a folder, or a hub id.
        kind: what the pipeline is called.
        parts: its folders.

    Raises:
        UserError: the folder lacks one, or it is neither a folder nor a hub id.
    """
    folder = Path(place)
    if folder.is_dir():
        if lacking := [part for part in parts if not (folder / part).is_dir()]:
            raise UserError(
                f"--backbone={place}: holds no pipeline of {kind}, {', '.join(lacking)} are not "
                "in it"
            )
    elif place.startswith(("/", ".", "~")) or place.count("/") != 1:
        raise UserError(
            f"--backbone={place}: there is no such folder; give one, a hub id as "
            "ORGANISATION/NAME, or tiny"
        )
