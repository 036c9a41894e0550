"""Real server processes on loopback, over copies of a few scans: real ones where they are, else phantoms.

`server` and `tiny_server` start once for all tests that ask for them, in whatever folder.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import nibabel as nib
import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data" / "msd_hippocampus" / "images"
TASK = "hippocampus" if REAL.is_dir() else "phantom"
SERVE = [sys.executable, "-m", "uncertaintyseg.cli", "serve"]


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def poll(condition, seconds: float = 600.0, every: float = 0.05):
    """Ask until `condition()` is true and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(every)
    return value


@dataclass
class Server:
    """A server process, its address and its folders."""

    process: subprocess.Popen
    http: httpx.Client
    studies: Path
    log: Path
    model: str = f"{TASK}_low_rank"  # draws coherent samples
    baseline: str = f"{TASK}_deterministic"  # answers soonest
    folder: Path | None = None  # of its models/, where they are its own
    wait_until = staticmethod(poll)

    @property
    def url(self) -> str:
        return str(self.http.base_url)

    def images(self) -> list[str]:
        return sorted(self.http.get("/datastore/?output=all").json()["objects"])

    def job(self, **request) -> str:
        reply = self.http.post("/uncertainty/v1/jobs", json=request)
        assert reply.status_code == 202, reply.text
        return reply.json()["id"]

    def state(self, job_id: str) -> dict:
        return self.http.get(f"/uncertainty/v1/jobs/{job_id}").json()

    def started(self, job_id: str) -> dict:
        """The state of a job once its network runs."""
        poll(lambda: (s := self.state(job_id))["state"] == "failed" or s["fraction"] > 0.05)
        state = self.state(job_id)
        assert state["state"] == "running", state
        return state

    def ended(self, job_id: str, seconds: float = 600.0) -> dict:
        return poll(lambda: (s := self.state(job_id))["state"] in ("done", "failed", "cancelled") and s, seconds)

    def infer(self, model: str, image: str, **params) -> dict:
        """The end of an inference job."""
        return self.ended(self.job(kind="infer", model=model, image=image, params=params))

    def volume(self, url: str) -> nib.Nifti1Image:
        """A label or map that a result names."""
        reply = self.http.get(url)
        assert reply.status_code == 200, reply.text
        return nib.Nifti1Image.from_bytes(gzip.decompress(reply.content))

    def cancel(self, job_id: str) -> httpx.Response:
        return self.http.delete(f"/uncertainty/v1/jobs/{job_id}")

    def cancel_all(self) -> None:
        for job in self.http.get("/uncertainty/v1/jobs").json():
            self.cancel(job["id"])

    def put_label(self, image: str, path: Path, **params) -> httpx.Response:
        with path.open("rb") as file:
            fields = {"params": json.dumps(params)}
            return self.http.put(f"/datastore/label?image={image}&tag=final", data=fields, files={"label": file})

    def remove_label(self, image: str) -> None:
        self.http.delete(f"/datastore/label?id={image}&tag=final")
        poll(lambda: "final" not in self.http.get("/datastore/?output=all").json()["objects"][image]["labels"])


def environment(folder: Path) -> dict[str, str]:
    """Keeps whatever a server writes for its user inside `folder`."""
    private = {
        "XDG_STATE_HOME": folder / "state",
        "XDG_DATA_HOME": folder / "data",
        "UNCERTAINTYSEG_MODELS": folder / "data" / "models",
        "MONAI_LABEL_SESSION_PATH": folder / "sessions",
    }
    return {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(path) for name, path in private.items()}}


def start(command: list[str], port: int, folder: Path, answer: int = 200) -> subprocess.Popen:
    """Run a server until it answers, with this status; its output goes to `folder`/log.txt."""
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(folder), stdout=log, stderr=subprocess.STDOUT)

    def answers() -> bool:
        assert process.poll() is None, (folder / "log.txt").read_text(encoding="utf-8")[-4000:]
        try:
            return httpx.get(f"http://127.0.0.1:{port}/info/").status_code == answer
        except httpx.TransportError:
            return False

    try:
        poll(answers, every=0.2)  # a busy machine takes its time to import torch
    except BaseException:
        process.kill()
        raise
    return process


@pytest.fixture(scope="session")
def launch(tmp_path_factory) -> Iterator[Callable[..., Server]]:
    """Starts servers, `launch(command, scans)`, each with folders and a port of its own, and ends them with the run."""
    with ExitStack() as stack:

        def run(command: list[str], scans: Sequence[Path] = ()) -> Server:
            folder = tmp_path_factory.mktemp("server")
            studies, port = folder / "studies", find_free_port()
            studies.mkdir()
            for scan in scans:
                shutil.copy(scan, studies)
            process = start([*command, "--studies", str(studies), "--port", str(port)], port, folder)
            stack.callback(stop, process)
            http = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120))
            return Server(process, http, studies, folder / "log.txt")

        yield run


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    assert process.wait(timeout=30) in (0, -15)


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> list[Path]:
    """Four small scans."""
    if REAL.is_dir():
        return sorted(REAL.glob("*.nii.gz"))[:4]
    from uncertaintyseg.data.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, count=4, seed=0)
    return sorted((folder / "images").glob("*.nii.gz"))


@pytest.fixture(scope="session")
def server(launch, scans, tmp_path_factory) -> Server:
    """`uncertaintyseg serve`, started once for all tests; they leave images and labels as they found them."""
    return launch([*SERVE, "--cache", str(tmp_path_factory.mktemp("cache"))], scans)


@pytest.fixture(scope="session")
def tiny_server(launch, tmp_path_factory) -> Server:
    """A server of its own models, which take a second to train, over six phantoms."""
    from Testing.Python.uncertaintyseg import tiny

    folder = tmp_path_factory.mktemp("tiny")
    tiny.write_phantoms(folder, 6)
    for head in ("deterministic", "low_rank", "temperature"):
        tiny.give_random_weights(tiny.write_bundle(folder / "models", head))
    server = launch(
        [*SERVE, "--models", str(folder / "models"), "--cache", str(folder / "cache")],
        sorted((folder / "images").glob("*.nii.gz")),
    )
    server.model, server.baseline, server.folder = "tiny_low_rank", "tiny_deterministic", folder
    return server
