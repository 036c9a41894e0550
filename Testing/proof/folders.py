"""A studies folder with a server that comes and goes, and the labels that say which one they are."""

from __future__ import annotations

import gzip
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import psutil

from Testing.Python.servers import Server, find_free_port, start


def number_of(label: Path) -> int:
    """The number that `label_of` wrote into a label."""
    return number_in(label.read_bytes())


def number_in(data: bytes) -> int:
    """The same, of a file's bytes."""
    values = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(data)).dataobj).ravel()[:32].astype(np.int64)
    return int(((values - 1) << np.arange(32)).sum())


class Folder:
    """One studies folder and at most one server on it."""

    def __init__(self, root: Path, command: list[str]) -> None:
        self.root = root
        self.studies = root / "studies"
        self.studies.mkdir()
        self.command = command
        self.server: Server | None = None

    def fill(self, scans: Iterable[Path]) -> None:
        for scan in scans:
            shutil.copy(scan, self.studies)

    def start(self, *options: object, answers: int = 200) -> Server:
        """Start the server; it must come up whatever the last one left, and `answers` with this status."""
        port = find_free_port()
        folders = ["--studies", self.studies, "--cache", self.root / "cache", "--port", port]
        process = start([*self.command, *map(str, [*folders, *options])], port, self.root, answers)
        http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self.server = Server(process, http, self.studies, self.root / "log.txt")
        return self.server

    def kill(self) -> None:
        """kill -9 of the server and of its workers, as a power cut would."""
        if self.server is None:
            return
        process = self.server.process
        family = [psutil.Process(process.pid), *workers(process)] if process.poll() is None else []
        for member in family:
            member.send_signal(signal.SIGKILL)
        process.wait(10)
        self.server.http.close()
        self.server = None

    def stop(self) -> None:
        """End the server as whoever runs it does."""
        self.server.http.close()
        self.server.process.terminate()
        self.server.process.wait(30)
        self.server = None

    def restart(self, *options: object) -> Server:
        self.kill()
        return self.start(*options)

    def label(self, image: str, tag: str = "final") -> Path:
        return self.studies / "labels" / tag / f"{image}.nii.gz"


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """All processes that a server started, and theirs."""
    return psutil.Process(process.pid).children(recursive=True)
