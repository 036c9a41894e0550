"""Two Ray nodes on loopback, as processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def two_nodes() -> Iterator[object]:
    """A `ray.cluster_utils.Cluster` of a head without cores and two nodes with one core each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        yield cluster
    finally:
        cluster.shutdown()
