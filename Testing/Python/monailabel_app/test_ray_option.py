"""The options of a server that say which Ray cluster it hands work to: what cannot be is refused before it starts."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from monailabel_app.ray_option import asked_ray
from uncertaintyseg.errors import InputError


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_without_an_address_there_is_no_cluster():
    assert asked_ray({}, "cpu") == []
    assert asked_ray({"ray": None, "ray_workers": None, "ray_scans": None}, "cuda:1") == []


@pytest.mark.parametrize(
    ("options", "device", "said"),
    [
        ({"ray_workers": "2"}, "cpu", "--ray-workers is of --ray: say the cluster's address"),
        ({"ray_scans": "bytes"}, "cpu", "--ray-scans is of --ray"),
        ({"ray": "local"}, "cpu", "for this machine alone say --devices"),
        ({"ray": "127.0.0.1:1"}, "mps", "a server on mps cannot share its work"),
        ({"ray": "127.0.0.1:1", "ray_scans": "fax"}, "cpu", "--ray-scans fax: give path"),
        ({"ray": "127.0.0.1:1", "ray_workers": "many"}, "cpu", "ray_workers many: give a number from 0 to 10000"),
        ({"ray": "127.0.0.1"}, "cpu", "give local for a cluster of this machine's own, or HOST:PORT"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_way_out(options, device, said):
    pytest.importorskip("ray")
    with pytest.raises(InputError) as error:
        asked_ray(options, device)
    assert said in str(error.value)


def test_a_cluster_that_is_not_there_or_protected_keeps_the_server_from_starting(free_port, monkeypatch, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(InputError, match=r"nothing answers there .*ray start --head"):
        asked_ray({"ray": f"127.0.0.1:{free_port}"}, "cpu")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(InputError, match=r"can run code on it.*RAY_AUTH_MODE=token"):
        asked_ray({"ray": "192.0.2.1:6379"}, "cpu")


def test_the_server_imports_no_ray():
    program = "import sys, monailabel_app.ray_option; print([m for m in ('ray', 'torch') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.strip() == "[]"
