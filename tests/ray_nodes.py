"""A real Ray cluster on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def two_nodes() -> Iterator[str]:
    """The address of two nodes of two cores each. Skips where Ray is not installed."""
    pytest.importorskip("ray", reason="the package ray is not installed")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        found.add_node(num_cpus=2)
        yield found.address
    finally:
        found.shutdown()
