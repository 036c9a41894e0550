"""A real Orthanc with its DICOMweb plugin, on loopback and in a temporary folder."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom import Dataset

from Testing.Python.servers import find_free_port, poll

BINARY = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = None if BINARY and PLUGIN.is_file() else "Orthanc is not installed: apt-get install orthanc orthanc-dicomweb"


@dataclass
class Orthanc:
    """The server process and a client of its own REST interface, which ours never uses."""

    folder: Path
    port: int
    dicom_port: int
    password: str | None = None
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    @property
    def http(self) -> httpx.Client:
        auth = ("annotator", self.password) if self.password else None
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", auth=auth, timeout=30)

    def start(self, until) -> None:
        """Start, or start again over the same storage."""
        settings = {
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [str(PLUGIN)],
            "HttpPort": self.port,
            "DicomPort": self.dicom_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": self.password is not None,
            "RegisteredUsers": {"annotator": self.password} if self.password else {},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(settings))
        with (self.folder / "orthanc.log").open("a") as log:
            self.process = subprocess.Popen([BINARY, str(configuration)], stdout=log, stderr=log)
        until(self._answers)

    def stop(self) -> None:
        """End the process; the storage stays."""
        self.process.terminate()
        self.process.wait(timeout=30)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "orthanc.log").read_text(encoding="utf-8")[-2000:]
        try:
            return self.http.get("/system").status_code == 200
        except httpx.TransportError:
            return False

    def _find(self, http: httpx.Client, **query: str) -> list[Dataset]:
        """The objects that a query finds, as Orthanc has them."""
        found = http.post("/tools/find", json={"Level": "Instance", "Query": query}).json()
        return [pydicom.dcmread(io.BytesIO(http.get(f"/instances/{i}/file").content)) for i in found]

    def instances(self, series: str) -> list[Dataset]:
        """The objects of a series."""
        with self.http as http:
            return self._find(http, SeriesInstanceUID=series)

    def derived(self, modality: str, source: str) -> list[Dataset]:
        """Objects of a modality that refer to a series."""
        with self.http as http:
            objects = self._find(http, Modality=modality)
        return [o for o in objects if o.ReferencedSeriesSequence[0].SeriesInstanceUID == source]

    def in_study_of(self, series: str, modality: str) -> list[Dataset]:
        """Objects of a modality in the study of a series."""
        with self.http as http:
            query = {"Level": "Series", "Query": {"SeriesInstanceUID": series}}
            [found] = http.post("/tools/find", json=query).json()
            study = http.get(f"/series/{found}/study").json()["MainDicomTags"]["StudyInstanceUID"]
            return self._find(http, StudyInstanceUID=study, Modality=modality)

    def upload(self, folder: Path) -> None:
        """Put in every file of a folder, through Orthanc's own interface."""
        with self.http as http:
            for path in sorted(folder.iterdir()):
                http.post("/instances", content=path.read_bytes()).raise_for_status()


@contextmanager
def running(folder: Path, password: str | None = None) -> Iterator[Orthanc]:
    """A new one on ports of its own; skips the test where Orthanc is not installed."""
    if MISSING:
        pytest.skip(MISSING)
    server = Orthanc(folder, find_free_port(), find_free_port(), password)
    server.start(poll)
    try:
        yield server
    finally:
        server.process.kill()  # its storage goes with the run
        server.process.wait()
