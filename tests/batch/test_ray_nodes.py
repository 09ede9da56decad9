"""A cluster of Ray that loses a node in the middle of the work."""

from __future__ import annotations

import _socket
import importlib.util
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meetscribe.batch.ray_pool import RayPool
from meetscribe.batch.summary import State
from tests.batch.test_ray import Troublesome, batch, quiet_ray

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="ray is not installed (extra ray)"
    ),
]


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """Start a cluster of two worker nodes with a core each, in processes of their own."""
    ray = quiet_ray()
    if ray.is_initialized():
        ray.shutdown()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1, num_gpus=0)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_lost_node_is_no_attempt(
    two_nodes: Any, recordings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the cluster has this machine's own address, which is not the loopback's
    monkeypatch.setattr(socket.socket, "connect", _socket.socket.connect)
    folder = recordings("wait.wav", "a.wav", "b.wav")
    flag = folder / "wait.at_work"
    pool = RayPool(
        {},
        address=two_nodes.address,
        workers=None,
        threads=1,
        memory=50_000_000,
        worker=Troublesome,
    )
    assert (pool.slots, pool.one_machine) == (2, False)

    def lose() -> None:
        ends = time.monotonic() + 120
        while time.monotonic() < ends and not (flag.exists() and flag.read_text()):
            time.sleep(0.05)
        (busy,) = (one for one in pool._actors if one.task and one.task.name == "wait")
        (node,) = (node for node in two_nodes.worker_nodes if node.node_id == busy.about["node"])
        two_nodes.remove_node(node, allow_graceful=False)

    loser = threading.Thread(target=lose)
    loser.start()
    ran = batch(folder, tmp_path / "out", pool, retries=0)
    loser.join()
    assert {row.state for row in ran.summary.rows} == {State.DONE}
    ((name, reason),) = ran.heard.repeats
    assert name == "wait"
    assert reason.endswith("is gone")
    assert ran.row("wait").attempts == 1
