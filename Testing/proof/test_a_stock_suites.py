"""MONAI Label's own suites, from its installed package, against our server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import monailabel
import nibabel as nib
import numpy as np
import pytest

from Testing.Python.servers import SERVE
from Testing.Python.uncertaintyseg.tiny import give_random_weights, write_bundle
from uncertaintyseg.data.writing import write_volume

STOCK = Path(monailabel.__file__).parents[1] / "tests"
ROOT = Path(__file__).resolve().parents[2]
MODELS = {  # the names that the suites ask for
    "deepedit": "low_rank",
    "deepedit_seg": "deterministic",
    "deepgrow_2d": "deterministic",
    "deepgrow_3d": "deterministic",
    "deepgrow_pipeline": "deterministic",
    "segmentation": "deterministic",
    "segmentation_spleen": "deterministic",
    "spleen_ct_segmentation": "deterministic",
}
NOT_OURS = "needs {}, which this server does not have"
DESELECTED = {
    "test_dicomwebcache.py": "replaces the DICOMweb client of its own process; ours is proven against a real Orthanc",
    "test_infer_wsi.py": NOT_OURS.format("slides (pathology)"),
    "test_ohif.py": "expects OHIF to be absent, as in MONAI Label's source tree; its wheel, which we run, brings it",
    "TestDetectionBundleInferTask": NOT_OURS.format("the detection bundle"),
    "TestDetectionBundleTrainTask": NOT_OURS.format("the detection bundle"),
    "test_scoring.py::EndPointScoring::test_dice": NOT_OURS.format("the scoring method `dice`"),
    "test_scoring.py::EndPointScoring::test_epistemic": NOT_OURS.format("`segmentation_spleen_epistemic`"),
    "test_scoring.py::EndPointScoring::test_strategy_epistemic": NOT_OURS.format("`segmentation_spleen_epistemic`"),
    "test_007_create_session_multiple_images": "sends two scans as one; here several files are one series of DICOM",
    "test_strategy_first": NOT_OURS.format("the strategy `first`"),
    "test_bundle_epistemic": "names no model, and this server has several",
    "test_sam_": NOT_OURS.format("SAM 2"),
    "test_logs_gpu": "asks nvidia-smi",
}


@pytest.fixture(scope="module")
def spleens(tmp_path_factory) -> Path:
    """A folder with tests/data/dataset/local/spleen in it, as the suites expect, of synthetic scans and labels."""
    folder = tmp_path_factory.mktemp("stock") / "tests" / "data" / "dataset" / "local" / "spleen"
    noise = np.random.default_rng(0)
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    for number in (2, 3, 8, 9, 10, 12):
        values = noise.normal(-100, 60, (160, 224, 32)).astype(np.float32)
        label = np.zeros(values.shape, np.uint8)
        label[100:150, 180:220, 20:30] = 1
        values[label > 0] += 150
        write_volume(folder / f"spleen_{number}.nii.gz", values, affine)
        if number != 10:
            write_volume(folder / "labels" / "final" / f"spleen_{number}.nii.gz", label, affine)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Tiny bundles of one structure under the names that the suites ask for."""
    folder = tmp_path_factory.mktemp("models")
    for name, head in MODELS.items():
        path = write_bundle(folder, head, 2, task="tiny", recipe={"stage": "backbone", "initial": None})
        for config in path.rglob("*.json"):
            config.write_text(config.read_text(encoding="utf-8").replace('"organ"', '"spleen"'))
        give_random_weights(path)
        path.rename(folder / name)
    return folder


@pytest.fixture(scope="module")
def stock(launch, spleens, models, tmp_path_factory):
    """Our server over those scans and models."""
    server = launch([*SERVE, "--models", str(models), "--cache", str(tmp_path_factory.mktemp("cache"))])
    for path in spleens.rglob("*.nii.gz"):
        target = server.studies / path.relative_to(spleens)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    server.wait_until(lambda: server.http.get("/datastore/").json()["total"] == 6)
    return server


@pytest.fixture
def run_suites(stock, spleens, tmp_path, record_property):
    """Runs some of the suites in a process of their own, all of them on the one server."""

    def run(*folders: str) -> None:
        report = tmp_path / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "Testing.proof.stock_plugin", f"--junitxml={report}"]
        command += ["-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={STOCK}", "--import-mode=importlib"]
        paths = [STOCK / folder for folder in folders]
        tests = collected([*command, *map(str, paths)], environment(stock), spleens.parents[4])
        chosen = {test: why for test in tests for part, why in DESELECTED.items() if part in test}
        command += [f"--deselect={test}" for test in chosen]
        ended = subprocess.run(
            [*command, *map(str, paths)], cwd=spleens.parents[4], env=environment(stock), capture_output=True, text=True
        )
        cases = list(ET.parse(report).iter("testcase")) if report.is_file() else []
        passed = sum(not len(case) for case in cases)  # one that failed has the reason in it
        record_property(f"{', '.join(folders)}: tests of MONAI Label that pass on our server", f"{passed}")
        for why in sorted(set(chosen.values())):
            left_out = [test.rpartition("::")[2] for test, reason in chosen.items() if reason == why]
            record_property(f"left out: {', '.join(left_out)}", why)
        assert ended.returncode == 0, ended.stdout[-6000:]
        assert cases

    return run


def environment(stock) -> dict[str, str]:
    addresses = {
        "STOCK_SERVER": stock.url,
        "STOCK_STUDIES": str(stock.studies),
        "STOCK_SESSIONS": str(stock.log.parent / "sessions"),
        "MONAILABEL_SERVER_PORT": str(urlsplit(stock.url).port),
        "PYTHONPATH": str(ROOT),
    }
    return {**os.environ, **addresses, "OMP_NUM_THREADS": "1"}


def collected(command: list[str], env: dict[str, str], cwd: Path) -> list[str]:
    """Ids of all tests under some folders."""
    ended = subprocess.run([*command, "--collect-only"], cwd=cwd, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-4000:]
    return [line for line in ended.stdout.splitlines() if "::" in line]


def test_the_endpoint_and_client_suites_pass(run_suites):
    run_suites("unit/endpoints", "unit/client")


def test_the_integration_suite_of_the_radiology_app_passes(run_suites):
    run_suites("integration/radiology")


def test_the_suites_left_the_server_well(stock):
    assert stock.http.get("/info/").status_code == 200
    assert nib.load(stock.studies / "labels" / "final" / "spleen_3.nii.gz").shape == (160, 224, 32)
    assert json.loads((stock.studies / "datastore_v2.json").read_text(encoding="utf-8"))["objects"]
