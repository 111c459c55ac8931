"""Where weights lie on this machine. Nothing is downloaded: scoring says what is missing."""

from pathlib import Path
from typing import Any

from eval.features.api import MissingWeights
from toolkit.core.errors import UserError, one_line
from toolkit.encoders.loading import Pretrained, download_command


def local_folder(what: str, weights: str | None, default: Pretrained) -> str:
    """The folder of a model of the hub.

    Args:
        what: the extractor, for messages.
        weights: a folder or a hub id; the default's otherwise.
        default: what is taken without.

    Raises MissingWeights: it was not downloaded yet.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    place = weights or default.hub_id
    if Path(place).is_dir():
        return place
    try:
        return snapshot_download(place, local_files_only=True)
    except LocalEntryNotFoundError:
        size = default.size if place == default.hub_id else "unknown size"
        command = download_command(place, default.files if place == default.hub_id else ())
        raise MissingWeights(f"{what}: {place}", command, size) from None
    except HFValidationError:
        raise UserError(
            f"--weights={what}:{place}: there is no such folder; give a folder, or a hub id as "
            "ORGANISATION/NAME"
        ) from None


def torch_file(what: str, weights: str | None, name: str, command: str, size: str) -> Path:
    """A file of weights: the one that is named, or `name` where torch.hub keeps such files.

    Raises MissingWeights, or UserError where the named one is not there.
    """
    import torch

    if weights is not None:
        if not Path(weights).is_file():
            raise UserError(f"--weights={what}:{weights}: there is no such file")
        return Path(weights)
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise MissingWeights(f"{what}: {name}", command, size)
    return path


def placed(network: Any, device: str) -> Any:
    """The network on a device, the channels of a pixel beside one another in memory: so
    convolutions of single pictures take less time (`bench.scoring`)."""
    import torch

    return network.to(device=device, memory_format=torch.channels_last)


def fill(module: Any, state: dict[str, Any], path: Path, ignored: tuple[str, ...] = ()) -> Any:
    """The module with weights from `state`, frozen; names that begin as `ignored` may be lacking on
    either side. Raises UserError where others are, or have another shape."""
    try:
        lacking, extra = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise UserError(f"{path} holds weights of another network: {one_line(error)[:160]}") from (
            None
        )
    counters = ("num_batches_tracked",)  # older files have none
    wrong = [
        n for n in (*lacking, *extra) if not n.startswith(ignored) and not n.endswith(counters)
    ]
    if wrong:
        raise UserError(f"{path} holds weights of another network: see {wrong[0]}")
    return module.eval().requires_grad_(False)
