"""Clusters that are there, are not there, or are started here."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archfit.errors import InputError
from archfit.study.ray_cluster import RayCluster, Share

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_a_share_that_no_node_has() -> None:
    with pytest.raises(InputError, match=r"no node of the cluster has the 3 CPUs and 0 GPUs .*lower --trial-cpus"):
        RayCluster(lambda: None, share=Share(cpus=3), local_cpus=1)


def test_no_cluster_at_an_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=rf"there is no Ray cluster at 127.0.0.1:{port}.*ray start --head"):
        RayCluster(lambda: None, address=f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["here", "host:", ":12", "host:port"])
def test_no_address(address: str) -> None:
    with pytest.raises(InputError, match="give HOST:PORT"):
        RayCluster(lambda: None, address=address)


def test_no_cluster_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match="there is no Ray cluster at auto"):
        RayCluster(lambda: None, address="auto")


def _reachable() -> set[str]:
    """Addresses other than the loopback's that something listens on, of Linux's tables."""
    found = set()
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "00000000000000000000000001000000")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if (
                state == "0A"
                and local.split(":")[0] != loopback
                and not local.startswith("0000000000000000FFFF00000100007F")
            ):
                found.add(local)
    return found


def _answer(cluster: RayCluster) -> Any:
    def job(context: str, report: Callable[[Any], None]) -> str:
        return context

    cluster.submit(0, job)
    while True:
        for event in cluster.events(1.0):
            return event.value


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's tables of sockets")
def test_a_cluster_of_this_machine_listens_to_it_alone() -> None:
    before = _reachable()
    with RayCluster(lambda: "seen", local_cpus=1) as cluster:
        assert cluster.size == 1
        assert _answer(cluster) == "seen"
        assert _reachable() <= before
