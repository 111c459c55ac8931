"""The tiny SDXL and its adapter, saved once a run."""

from pathlib import Path

import pytest

from tests.twins import ip_adapter, sdxl


@pytest.fixture(scope="session")
def sdxl_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What --weights.base and --weights.ip_adapter name."""
    root: Path = tmp_path_factory.mktemp("sdxl")
    return {"base": str(sdxl(root / "base")), "ip_adapter": str(ip_adapter(root / "adapter"))}
