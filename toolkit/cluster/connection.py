"""The Ray cluster that this process works with (Moritz et al. 2018, arXiv 1712.05889).

Its machines see the same folders under the same names, and have this program installed. A worker
or a machine that is lost costs what it was at; somebody else does that again.
"""

import logging
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from toolkit.core.errors import UserError, one_line
from toolkit.core.log import note

RETRIES = 5  # of work whose worker died
_PATIENCE_S = 5.0


def connect() -> Any:
    """The module ray, connected to the cluster that RAY_ADDRESS names, or to the one that runs on
    this machine. Raises UserError where there is none."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError(
            "--engine=ray needs the package ray on all machines: install it, or leave --engine away"
        ) from None
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "auto")
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no Ray cluster answers at {address}: `ray start --head` begins one here, `ray "
                "start --address=HEAD:6379` joins it on other machines, RAY_ADDRESS names one "
                f"[{one_line(error, 80)}]"
            ) from None
        machines = sum(node["Alive"] for node in ray.nodes())
        address = ray.get_runtime_context().gcs_address
        note(f"Ray cluster at {address}: {machines} machines, {cores(ray)} cores")
    return ray


def cores(ray: Any) -> int:
    """Cores of the whole cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _knock(address: str) -> None:
    """Raises OSError at once where Ray would try for minutes."""
    place = urlsplit(address if "//" in address else f"//{address}")
    if place.hostname and place.port:
        socket.create_connection((place.hostname, place.port), _PATIENCE_S).close()
