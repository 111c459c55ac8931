"""The networks of the package `lpips`, with trunks from torchvision's files (Zhang et al. 2018,
arXiv 1801.03924, version 0.1)."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.encoders.loading import PLANNED, state_of


def load_network(trunk: str, path: Path) -> Any:
    """The package's network with the trunk of a torchvision state dict, or, of a file `PLANNED`,
    without weights. Raises UserError."""
    # The package prints its settings and calls torchvision in a way that has been deprecated.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips

        network = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    if path.name == PLANNED:
        return network.eval().requires_grad_(False).to("meta")
    state = state_of(path)
    missing = []
    for name, own in network.net.state_dict().items():
        if not name.startswith("slice"):
            continue
        found = state.get("features." + name.partition(".")[2])
        if found is None or found.shape != own.shape:
            missing.append(name)
        else:
            own.copy_(found)
    if missing:
        raise UserError(f"{path} holds no {trunk} of torchvision: {missing[0]} is not in it")
    return network.eval().requires_grad_(False)
