"""The way to a cluster: addresses that cannot be, that nobody answers, or that nothing protects."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from uncertaintyseg.errors import InputError
from uncertaintyseg.workers.ray_cluster import check_address, connected

pytest.importorskip("ray")


@pytest.fixture
def port():
    """One that somebody listens at, who is no Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "127.0.0.1", "127.0.0.1:port", ":6379", "auto", "host:0"])
def test_what_is_no_address_of_a_head_is_refused_with_an_example(address):
    with pytest.raises(InputError, match=r"HOST:PORT of the head .* 127\.0\.0\.1:6379"):
        check_address(address)


def test_where_nothing_answers_it_is_said_at_once(port):
    check_address(f"127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{free}: nothing answers there .*ray start --head"):
        check_address(f"127.0.0.1:{free}")


def test_an_address_beyond_this_machine_needs_rays_token(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"can run code on it.*RAY_AUTH_MODE=token"):
        check_address("192.0.2.1:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(InputError, match="can run code on it"):  # the mode alone protects nothing
        check_address("192.0.2.1:6379")


def test_without_ray_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"uncertaintyseg\[ray\]"), connected("local"):
        pass


def test_another_version_of_ray_on_the_other_side_is_one_line(monkeypatch):
    import ray

    from Testing.Python.uncertaintyseg.workers.ray_nodes import two_nodes

    with two_nodes() as cluster:
        monkeypatch.setattr(ray, "__version__", "2.0.0")
        with pytest.raises(InputError, match=rf"--ray {cluster.address}: .*2\.0\.0"), connected(cluster.address):
            pass


def test_the_environment_is_as_it_was_afterwards():
    before = dict(os.environ)
    with pytest.raises(InputError), connected("nowhere"):
        pass
    assert dict(os.environ) == before


STOPPED = """
import signal, sys
from pathlib import Path
from Testing.Python.uncertaintyseg.workers.tasks import Double
from uncertaintyseg.workers import each
from uncertaintyseg.workers.ray_cluster import connected
signal.signal(signal.SIGINT, signal.default_int_handler)
with connected("local", 2):
    from uncertaintyseg.workers.ray_crew import RayCrew
    for outcome in each(range(400), Double(Path(sys.argv[1]), slow=0.2), RayCrew(2, 1)):
        print(outcome.item, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no test of Ray there")
def test_ctrl_c_ends_a_cluster_of_ones_own_with_its_workers(tmp_path):
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        error = process.communicate(timeout=120)[1]
    assert b"KeyboardInterrupt" in error
    assert len(children) > 3
    assert not psutil.wait_procs(children, timeout=60)[1]


LISTENING = """
import psutil
from uncertaintyseg.workers.ray_cluster import connected
with connected("local"):
    import ray
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        for one in process.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN:
                print(one.laddr.ip)
    print("dashboard", ray.worker.get_dashboard_url() or None)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no test of Ray there")
def test_a_cluster_of_ones_own_listens_on_loopback_alone_without_a_dashboard():
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    result = subprocess.run(
        [sys.executable, "-c", LISTENING], env=own, capture_output=True, encoding="utf-8", check=True
    )
    *addresses, dashboard = result.stdout.splitlines()
    assert len(addresses) > 3
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}
    assert dashboard == "dashboard None"
