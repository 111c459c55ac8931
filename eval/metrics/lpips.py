"""LPIPS to the content: perceptual distance, as the package `lpips` computes it.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
version 0.1, AlexNet trunk. The linear weights are inside the package, the trunk is torchvision's
file; it is read from the folder that torch.hub uses (`$TORCH_HOME/hub/checkpoints`).
"""

from pathlib import Path
from typing import Any

import numpy as np

from eval.metrics.api import Metric, MissingWeights

TRUNK_FILE = "alexnet-owt-7be5be79.pth"
COMMAND = "python -c \"import torchvision; torchvision.models.alexnet(weights='DEFAULT')\""


def trunk_path() -> Path:
    """Where torch.hub keeps the trunk."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / TRUNK_FILE


def load_network(trunk: Path) -> Any:
    """The LPIPS network with the trunk of a torchvision AlexNet state dict."""
    import contextlib
    import io
    import warnings

    import torch

    # The package prints its settings and calls torchvision in a way that has been deprecated.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lpips

        network = lpips.LPIPS(net="alex", pnet_rand=True)
    state = torch.load(trunk, map_location="cpu", weights_only=True)
    slices = dict(network.net.named_modules())
    for name, tensor in state.items():
        part, index, field = (*name.split("."), "")[:3]
        if part != "features":
            continue
        owner = next(m for n, m in slices.items() if n.split(".")[-1] == index and "slice" in n)
        getattr(owner, field).data.copy_(tensor)
    return network.eval()


def open_metric() -> Metric:
    """Raises MissingWeights without the trunk."""
    path = trunk_path()
    if not path.is_file():
        raise MissingWeights("lpips: the AlexNet trunk", COMMAND, "233 MB")
    return metric_with(load_network(path))


def metric_with(network: Any) -> Metric:
    """The metric over a given LPIPS network."""
    import torch

    def tensor(pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1

    def score(output: np.ndarray, content: np.ndarray) -> float:
        with torch.no_grad():
            return float(network(tensor(output), tensor(content)))

    return Metric("lpips", "lower", "content", "lpips 0.1 alex", score, {"range": "[-1,1]"})
