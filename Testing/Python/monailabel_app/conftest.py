"""What the tests of the server app share beside the servers themselves: commands that refuse, scans and labels."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.monailabel_app.guarded import Guarded, start_guarded
from Testing.Python.servers import ROOT, SERVE, Server, environment, find_free_port, poll
from uncertaintyseg.inference.bundle import Bundle

MAX_UPLOAD_MB = 20
ORGANS = ["spleen", "kidney_right", "kidney_left", "liver"]
GUARD = Path(__file__).parent / "intake" / "guard"


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture
def run_to_the_end(tmp_path):
    """Runs a command that should refuse to start."""

    def run(command: list[str]) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=180, check=False
        )

    return run


@pytest.fixture
def serve_command() -> list[str]:
    return SERVE


@pytest.fixture(scope="session")
def guarded(tmp_path_factory, scans) -> Iterator[Guarded]:
    """A server as a hospital would run it, with a tiny model of its own; tests leave no lease and no job behind."""
    from Testing.Python.uncertaintyseg import tiny

    folder = tmp_path_factory.mktemp("guarded")
    (folder / "studies").mkdir()
    for scan in scans[:2]:
        shutil.copy(scan, folder / "studies")
    tiny.give_random_weights(tiny.write_bundle(folder / "models", "low_rank"))
    found = start_guarded(SERVE, folder, **{"models": folder / "models", "max-upload-mb": MAX_UPLOAD_MB})
    yield found
    found.stop()


@dataclass
class Watched(Server):
    """A server whose native readers are forbidden (`intake/guard`).

    Attributes:
        guard: what it had to refuse.
        noted: hashes of what a client is about to send.
        data: its phantoms' images and labels.
    """

    guard: Path = Path()
    noted: Path = Path()
    data: Path = Path()


@pytest.fixture(scope="session")
def watched(launch, tmp_path_factory) -> Watched:
    """Over three phantoms, with one model that infers in no time."""
    from Testing.Python.monailabel_app import fuzzing

    folder = tmp_path_factory.mktemp("watched")
    options, scans = fuzzing.tiny_world(folder)
    (folder / "log").touch(), (folder / "uploads").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(GUARD), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("GUARD_LOG", str(folder / "log"))
        patch.setenv("GUARD_UPLOADS", str(folder / "uploads"))
        server = launch([*SERVE, *options], scans)
    return Watched(**vars(server), guard=folder / "log", noted=folder / "uploads", data=folder / "data")


@pytest.fixture(scope="session")
def composite(tmp_path_factory) -> Bundle:
    """A model of several networks; its scans lie in `data/images` beside its folder."""
    from Testing.Python.uncertaintyseg.imports.totalsegmentator_weights import import_composite

    return import_composite(tmp_path_factory.mktemp("composite"))[0]


@pytest.fixture(scope="session")
def anatomic(launch, composite, tmp_path_factory) -> Server:
    """A server of the composite model, one of 117 structures (`body`) and one of four of them (`organs`)."""
    from Testing.Python.uncertaintyseg import many

    folder = tmp_path_factory.mktemp("anatomic")
    many.write_bundle(folder / "models", many.names())
    many.write_bundle(folder / "models", ORGANS, task="organs")
    models = ["--models", str(composite.folder.parent), "--models", str(folder / "models")]
    scan = composite.folder.parents[1] / "data" / "images" / "case_0.nii.gz"
    return launch([*SERVE, *models, "--cache", str(folder / "cache")], [scan])


@pytest.fixture(scope="session")
def image(scans) -> str:
    """Id of a scan in the studies folder."""
    return scans[0].name.removesuffix(".nii.gz")


@pytest.fixture(scope="session")
def cached(server, image) -> str:
    """The same scan, once the baseline model has a result for it."""
    assert server.infer(server.baseline, image)["state"] == "done"
    return image


@pytest.fixture(scope="session")
def big_scan(scans, tmp_path_factory) -> Path:
    """A scan that takes long enough to look at the server meanwhile."""
    volume = nib.load(scans[0])
    path = tmp_path_factory.mktemp("big") / "big.nii.gz"
    nib.Nifti1Image(np.tile(volume.get_fdata(dtype=np.float32), (4, 4, 4)), volume.affine).to_filename(path)
    return path


@pytest.fixture(scope="module")
def big_image(server, big_scan) -> Iterator[str]:
    """The big scan's id while it is in the studies folder."""
    with big_scan.open("rb") as file:
        assert server.http.put("/datastore/image", files={"file": file}).json() == {"image": "big"}
    time.sleep(0.5)  # a server that was asked for scores before begins to score it by itself
    server.cancel_all()
    yield "big"
    server.cancel_all()
    server.http.delete("/datastore/image?id=big")
    poll(lambda: "big" not in server.images())


@pytest.fixture
def saved_label(server, image, tmp_path) -> Iterator[Path]:
    """A label file that the server has saved for `image`."""
    scan = nib.load(server.studies / f"{image}.nii.gz")
    values = np.zeros(scan.shape, np.uint8)
    values[2:6, 3:8, 4:9] = 1
    values[6:9, 3:8, 4:9] = 2
    path = tmp_path / "label.nii.gz"
    nib.Nifti1Image(values, scan.affine).to_filename(path)
    assert server.put_label(image, path).status_code == 200
    yield path
    server.remove_label(image)
