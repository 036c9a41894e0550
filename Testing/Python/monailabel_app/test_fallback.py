"""Out of memory in one case: smaller windows, then the CPU, shown in the result; the worker stays usable."""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from monailabel_app.jobs import Predict, ResultStore, Worker
from monailabel_app.jobs.work import Report
from Testing.Python.uncertaintyseg.tiny import SPACING, give_random_weights, write_bundle
from uncertaintyseg.errors import TooLargeError
from uncertaintyseg.inference.bundle import Bundle

KEY = "a" * 64
MIB = 2**20


@dataclass(frozen=True)
class Cramped(Predict):
    """A prediction in a process that may take only so much more memory; the limit is the system's own."""

    spare: int = 0

    def run(self, report: Report) -> str:
        import uncertaintyseg.inference.predictor  # noqa: F401 - what it takes does not count

        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + self.spare, resource.RLIM_INFINITY))
        try:
            return super().run(report)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    """Its own window of 96^3 with 16 channels takes more than 400 MiB; with halved ones 210 are enough."""
    folder = tmp_path_factory.mktemp("models")
    path = write_bundle(folder, window=(96, 96, 96), overlap=0, filters=(16, 16, 16))
    return give_random_weights(path)


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    waves = np.sin(np.arange(96) / 8)  # noise would be a thousand regions
    values = (100 * waves[:, None, None] * waves[:, None] * waves).astype(np.float32)
    nib.Nifti1Image(values, np.diag([*SPACING, 1.0])).to_filename(path)
    return path


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def work(bundle, scan, tmp_path) -> Cramped:
    return Cramped(KEY, str(scan), str(bundle.folder), bundle.checksum, 0, 2, "cpu", str(tmp_path), spare=2**40)


def test_what_does_not_fit_is_done_with_smaller_windows_or_is_a_memory_error_and_the_worker_goes_on(worker, work):
    """The error first of all: in a process that has computed before there is memory that the limit does not count."""
    with pytest.raises(MemoryError, match="out of memory on cpu"):
        worker.submit(replace(work, spare=4 * MIB)).result()
    key = worker.submit(replace(work, spare=300 * MIB)).result()
    store = ResultStore(Path(work.results))
    provenance = store.report(key).risk.provenance
    assert key != KEY
    assert store.report(KEY) is None
    assert provenance.window == (48, 48, 48)
    assert "out of memory on cpu" in provenance.fallback
    assert "windows of 48 x 48 x 48" in provenance.fallback
    assert worker.submit(work).result() == KEY  # with memory again, in the same process
    provenance = store.report(KEY).risk.provenance
    assert provenance.window == (96, 96, 96)
    assert provenance.fallback is None


def test_what_a_gpu_is_too_small_for_is_done_on_the_cpu_and_what_nothing_is_large_enough_for_is_told(work, monkeypatch):
    tried = []

    def predict(self, report, device, halvings, failed):
        tried.append((device, halvings))
        if device == "cuda" or device in full:
            raise TooLargeError(f"needs 9.0 GB of memory on {device}")
        return failed

    monkeypatch.setattr(Cramped, "_predict", predict)
    full = set()
    assert "out of memory on cuda" in replace(work, device="cuda").run(lambda *_: None)
    assert tried == [("cuda", 0), ("cuda", 1), ("cuda", 2), ("cpu", 0)]
    full = {"cpu"}
    with pytest.raises(TooLargeError, match=r"needs 9\.0 GB of memory on cpu"):
        replace(work, device="cuda").run(lambda *_: None)
