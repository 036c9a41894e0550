"""A server with several devices: what it answers is what one with one answers, and they fail one by one."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import psutil
import pytest

from monailabel_app.devices import asked_devices, device_of_keys
from Testing.Python.servers import SERVE, Server, poll
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import InputError
from uncertaintyseg.workers.local import cores

CLIENTS = 8
needs_two_cores = pytest.mark.skipif(cores() < 2, reason="a server takes no more CPU workers than there are cores")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, list[Path]]:
    """A folder with a model, and scans: one for each client and two that take a thousand windows."""
    folder = tmp_path_factory.mktemp("devices")
    tiny.write_phantoms(folder, CLIENTS)
    tiny.give_random_weights(tiny.write_bundle(folder / "models", "low_rank"))
    scans = sorted((folder / "images").glob("*.nii.gz"))
    for name in ("large_0", "large_1"):
        volume = nib.load(scans[0])
        tiled = np.tile(volume.get_fdata(dtype=np.float32), (6, 6, 6))
        nib.Nifti1Image(tiled, volume.affine).to_filename(folder / f"{name}.nii.gz")
        scans.append(folder / f"{name}.nii.gz")
    return folder, scans


def started(launch, world, *options: str) -> Server:
    folder, scans = world
    cache = folder / f"cache{len(options)}"
    server = launch([*SERVE, "--models", str(folder / "models"), "--cache", str(cache), *options], scans)
    server.model = "tiny_low_rank"
    return server


@pytest.fixture(scope="module")
def two(launch, world) -> Server:
    return started(launch, world, "--devices", "cpu,cpu")


@pytest.fixture
def idle(two):
    """The server with two devices once nothing is left to do."""
    yield two
    two.cancel_all()
    poll(lambda: not two.http.get("/uncertainty/v1/jobs").json())


def devices(server) -> list[dict]:
    return server.http.get("/info/").json()["devices"]


def volumes(server, image: str) -> dict[str, bytes]:
    """What a client that infers a scan gets: the label and all maps, as they are sent."""
    with httpx.Client(base_url=server.url, timeout=300) as http:
        reply = http.post("/uncertainty/v1/jobs", json={"kind": "infer", "model": server.model, "image": image})
        job = f"/uncertainty/v1/jobs/{reply.json()['id']}"
        poll(lambda: http.get(job).json()["state"] == "done")
        risk = http.get(job).json()["result"]["risk"]
        label = f"/uncertainty/v1/results/{risk['result']}/label.nii.gz"
        urls = {"key": None, "label": label} | {name: about["url"] for name, about in risk["maps"].items()}
        found = {name: http.get(url).content for name, url in urls.items() if url}
        return found | {"key": risk["result"].encode()}


@needs_two_cores
def test_eight_clients_at_once_get_from_two_devices_what_one_gives_each_alone(launch, world, idle):
    images = [f"case_{i}" for i in range(CLIENTS)]
    together = threading.Barrier(CLIENTS)

    def ask(image: str) -> dict[str, bytes]:
        together.wait()
        return volumes(idle, image)

    with ThreadPoolExecutor(CLIENTS) as clients:
        found = dict(zip(images, clients.map(ask, images), strict=True))
    done = [device["done"] for device in devices(idle)]
    assert len(done) == 2
    assert min(done) > 0
    assert sum(done) == CLIENTS
    one = started(launch, world)
    for image in images:
        assert volumes(one, image) == found[image], image
    assert [device["done"] for device in devices(one)] == [CLIENTS]


@needs_two_cores
def test_a_batch_uses_both_devices_and_an_answer_comes_before_it_is_through(idle):
    images = ["large_0", "large_1", "case_0", "case_1"]
    batch = idle.job(kind="batch", model=idle.model, images=images, params={"seed": 5})
    poll(lambda: all(device["busy"] for device in devices(idle)))
    poll(lambda: "images 1 to 2 of 4" in idle.state(batch)["stage"])
    poll(lambda: idle.state(batch)["fraction"] > 0)
    assert idle.infer(idle.model, "case_2", seed=6)["state"] == "done"
    assert idle.state(batch)["state"] == "running"


def at_work(server) -> psutil.Process:
    """A worker process that computes."""
    first: dict[psutil.Process, float] = {}

    def busy() -> psutil.Process | None:
        for child in psutil.Process(server.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # what was cancelled before is just ending
                used = sum(child.cpu_times()[:2])
                is_worker = any("spawn_main" in part for part in child.cmdline())
                if is_worker and used > first.setdefault(child, used) + 0.3:
                    return child
        return None

    return poll(busy)


@needs_two_cores
def test_a_killed_worker_ends_its_own_job_and_the_other_device_goes_on(idle):
    jobs = [idle.job(kind="infer", model=idle.model, image=f"large_{i}", params={"seed": 7}) for i in (0, 1)]
    for job in jobs:
        idle.started(job)
    at_work(idle).kill()
    lost = poll(lambda: next((job for job in jobs if idle.state(job)["state"] == "failed"), None))
    assert "its process was killed" in idle.state(lost)["error"]
    [other] = {*jobs} - {lost}
    before = idle.state(other)["fraction"]
    assert idle.infer(idle.model, "case_3", seed=8)["state"] == "done"
    after = poll(lambda: (said := idle.state(other))["fraction"] > before and said)
    assert after["state"] in ("running", "done")
    assert [device["set_aside"] for device in devices(idle)] == [None, None]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"devices": "cuda:0,cuda:77"}, "--devices: device 'cuda:"),
        ({"device": "cuda:77"}, "--device: device 'cuda:77' cannot be used; "),
        ({"devices": "cpu,warp"}, "--devices: device 'warp' cannot be used here"),
        ({"device": "warp"}, "--device: device 'warp' cannot be used here"),
        ({"devices": ""}, "--devices is empty; name them with commas between"),
        ({"devices": " , "}, "--devices is empty"),
        ({"devices": "cpu,"}, "--devices cpu,: a name is missing"),
        ({"devices": "auto,cpu"}, "auto stands for one device"),
        ({"devices": "cpu,cpu", "device": "cpu"}, "--device cpu, --devices cpu,cpu: give one of them"),
        ({"devices": ",".join(["cpu"] * (cores() + 1))}, f"there are {cores()} cores here; name fewer"),
    ],
)
def test_devices_that_cannot_be_are_refused_with_the_way_out(options, said):
    with pytest.raises(InputError) as error:
        asked_devices(options)
    assert said in str(error.value)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ("cuda:0,cuda:2", "device 'cuda:2' cannot be used; the GPUs here are cuda:0, cuda:1"),
        ("cuda:0,cuda:0", "cuda:0 is named twice; its processes would take each other's memory"),
        ("cuda,cuda:0", "cuda:0 is named twice"),
        ("cpu,cuda:1", "results of cpu and cuda differ in their last digits"),
    ],
)
def test_gpus_that_do_not_go_together_are_refused(two_gpus, devices, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        asked_devices({"devices": devices})


@pytest.mark.parametrize(
    ("options", "found", "of_keys"),
    [
        ({"devices": "cuda:0, cuda:1"}, ["cuda:0", "cuda:1"], "cuda"),
        ({"devices": "cuda:1"}, ["cuda:1"], "cuda:1"),
        ({"device": "cuda"}, ["cuda"], "cuda"),
        ({"device": "cpu"}, ["cpu"], "cpu"),
        ({"devices": "cpu"}, ["cpu"], "cpu"),
    ],
)
def test_results_are_named_by_the_one_device_or_by_the_kind_of_several(two_gpus, options, found, of_keys):
    assert asked_devices(options) == found
    assert device_of_keys(found) == of_keys
