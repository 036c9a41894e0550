"""Files of a case, as the server would send them, without the server."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

if importlib.util.find_spec("slicer") and importlib.util.find_spec("PySide6"):
    from slicer_host import desktop

    desktop.start()  # brings slicer.i18n, qt and ctk, which our files import

from Testing.Python.SlicerUncertaintySeg import wire_process
from UncertaintySegLib.server.replies import Label
from UncertaintySegLib.server.results import MapInfo

ENTROPY = MapInfo(url="", unit="nats", range=(0.0, 1.0986), source="total")


@dataclass(frozen=True)
class CaseFiles:
    """A scan, its label, a risk map, and how to read them."""

    name: str
    scan: Path
    label: Path
    risk: Path
    labels: tuple[Label, ...]
    info: MapInfo = ENTROPY


def write_scaled_map(path: Path, values: np.ndarray, affine: np.ndarray, highest: float) -> None:
    """Write a map as the server does: NIfTI uint16 with a scale."""
    slope = highest / 65535
    image = nib.Nifti1Image(np.round(values / slope).astype(np.uint16), affine)
    image.header.set_slope_inter(slope, 0.0)
    image.to_filename(path)


def border_risk(label: np.ndarray, spacing: np.ndarray, width_mm: float = 1.5) -> np.ndarray:
    """Return a map that is ln 2 on the border of the labels and fades within a few mm."""
    risk = np.zeros(label.shape)
    for value in np.unique(label[label > 0]):
        inside = label == value
        distance = ndimage.distance_transform_edt(inside, sampling=spacing)
        distance += ndimage.distance_transform_edt(~inside, sampling=spacing)
        risk = np.maximum(risk, np.log(2) * np.exp(-(((distance - spacing.min()) / width_mm) ** 2)))
    return risk


def oblique_affine() -> np.ndarray:
    """A grid turned about two axes, with anisotropic spacing and its first axis flipped."""
    a, b = np.deg2rad([20.0, -12.0])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([-1.0, 1.25, 2.5])
    affine[:3, 3] = [31.0, -42.0, 17.0]
    return affine


@pytest.fixture(scope="session")
def phantom_case(tmp_path_factory) -> CaseFiles:
    """A ball with a small ball in it, on an oblique, flipped, anisotropic grid."""
    folder = tmp_path_factory.mktemp("phantom")
    affine = oblique_affine()
    i, j, k = np.indices((48, 44, 24))
    offset = np.stack([i - 26, j - 20, k - 11], axis=-1) * np.linalg.norm(affine[:3, :3], axis=0)
    distance = np.linalg.norm(offset, axis=-1)
    lesion = np.linalg.norm(offset - [7.0, 0.0, 0.0], axis=-1) < 5
    label = np.where(lesion, 2, np.where(distance < 16, 1, 0)).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 12, label.shape)
    scan = np.select([label == 2, label == 1], [40.0, 110.0], -60.0) + noise
    risk = border_risk(label, np.array([1.0, 1.25, 2.5]))
    nib.Nifti1Image(scan.astype(np.int16), affine).to_filename(folder / "scan.nii.gz")
    nib.Nifti1Image(label, affine).to_filename(folder / "label.nii.gz")
    write_scaled_map(folder / "risk.nii.gz", risk, affine, ENTROPY.range[1])
    labels = (Label(1, "organ", (90, 200, 110), "10200004"), Label(2, "lesion", (80, 150, 255)))
    return CaseFiles("phantom_1", folder / "scan.nii.gz", folder / "label.nii.gz", folder / "risk.nii.gz", labels)


def _real_case(folder: Path, scan: Path, label: Path, names: dict[int, str]) -> CaseFiles:
    image = nib.load(label)
    values = np.isin(np.asarray(image.dataobj), list(names)) * np.asarray(image.dataobj)
    kept = folder / "label.nii.gz"
    nib.Nifti1Image(values.astype(np.uint8), image.affine).to_filename(kept)
    risk = border_risk(values, np.array(image.header.get_zooms()[:3], dtype=float))
    write_scaled_map(folder / "risk.nii.gz", risk, image.affine, ENTROPY.range[1])
    labels = tuple(Label(value, name) for value, name in names.items())
    return CaseFiles(scan.name.split(".")[0], scan, kept, folder / "risk.nii.gz", labels)


@pytest.fixture(scope="session")
def hippocampus_case(shared_data, tmp_path_factory) -> CaseFiles:
    """A real MR scan with its label, and a risk map made from the label's border."""
    data = shared_data / "msd_hippocampus"
    name = "hippocampus_004.nii.gz"
    names = {1: "anterior", 2: "posterior"}
    return _real_case(tmp_path_factory.mktemp("hippocampus"), data / "images" / name, data / "labels" / name, names)


@pytest.fixture(scope="session")
def abdomen_case(shared_data, tmp_path_factory) -> CaseFiles:
    """A real CT with TotalSegmentator's own label of three organs, and a risk map made from their borders."""
    data = shared_data / "totalsegmentator_examples"
    scan, label = data / "images" / "example_ct.nii.gz", data / "labels" / "example_seg_fast_force_split.nii.gz"
    names = {1: "spleen", 5: "liver", 52: "aorta"}
    return _real_case(tmp_path_factory.mktemp("abdomen"), scan, label, names)


@pytest.fixture
def shown_case(host, phantom_case):
    """The phantom in the scene, its risk map over the scan."""
    return show_case(host, phantom_case)


def show_case(host, files: CaseFiles):
    """Load a case into the host's scene as the panel does."""
    from UncertaintySegLib.scene.case import CaseScene

    case = CaseScene(host.scene)
    provenance = {"model": "phantom_low_rank", "head": "low_rank", "weights_checksum": "ab12", "seed": 3}
    case.show_scan(files.name, files.scan)
    case.show_segmentation(files.label, files.labels, provenance)
    case.add_map("predictive_entropy", files.risk, files.info, provenance)
    case.show_map("predictive_entropy")
    return case


def riskiest_place(case) -> tuple[float, float, float]:
    """Return where in mm (RAS) the first map of a case is highest."""
    from UncertaintySegLib.scene import masks

    risk = next(iter(case.maps.values()))
    return masks.highest_place(np.ones(risk.GetImageData().GetDimensions()[::-1], bool), case.scan, risk)


@pytest.fixture
def show():
    """The function that loads a case into a host's scene."""
    return show_case


@pytest.fixture(scope="session")
def wire_manager():
    """The process that wire servers run in."""
    with wire_process.process() as manager:
        yield manager


@pytest.fixture
def wire_server(wire_manager, phantom_case):
    """A running server with the phantom, that fails on command."""
    server = wire_process.WireServer(wire_manager, phantom_case)
    yield server
    server.close()


@pytest.fixture
def user(host, tmp_path, monkeypatch):
    """Somebody at the whole module; fails for any traceback, and whatever else no user may see."""
    from Testing.Python.SlicerUncertaintySeg.whole_panel import sitting_down

    with sitting_down(host, tmp_path, monkeypatch) as user:
        yield user


@pytest.fixture
def full_server(wire_server):
    """A wire server with two cases, whose results have the maps that all sections ask for, and a calibrated curve."""
    from Testing.Python.SlicerUncertaintySeg import wire_answers as wire

    wire_server.names = ["phantom_1", "phantom_2"]
    labels = wire_server.job_result["labels"]
    maps = ("error_probability", "predictive_entropy", "probability_organ")
    wire_server.job_result = wire.result("k3y", labels, wire_server.job_result["risk"]["regions"], maps)
    return wire_server
