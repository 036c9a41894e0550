"""The scripts of sample_data/, run as a user runs them."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from monai.apps import DecathlonDataset

from uncertaintyseg.data.layouts import find_real_data, read_cases
from uncertaintyseg.data.writing import write_volume

SCRIPTS = Path(__file__).parents[3] / "sample_data"


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fetch, make_phantoms, make_ultrasound = (load(name) for name in ("fetch", "make_phantoms", "make_ultrasound"))


def test_make_phantoms_runs_as_a_script(tmp_path):
    command = [sys.executable, SCRIPTS / "make_phantoms.py", tmp_path / "p", "--count", "2"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert "2 cases" in done.stderr
    assert "\r" not in done.stderr
    assert [case.id for case in read_cases(tmp_path / "p")] == ["phantom_000", "phantom_001"]


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--seed", "-1"]])
def test_make_phantoms_refuses_senseless_numbers(tmp_path, arguments):
    with pytest.raises(SystemExit) as caught:
        make_phantoms.main([str(tmp_path), *arguments])
    assert caught.value.code == 2


def test_make_phantoms_says_when_it_cannot_write(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert make_phantoms.main([str(tmp_path / "file"), "--count", "1"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_make_ultrasound_runs_as_a_script_and_draws_no_bar_into_a_file(tmp_path):
    command = [sys.executable, SCRIPTS / "make_ultrasound.py", tmp_path / "p", "--count", "2", "--size", "64"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert done.stderr.splitlines() == [f"2 cases in {(tmp_path / 'p').resolve()}"]
    assert sorted(path.name for path in (tmp_path / "p" / "images").iterdir()) == [
        "fetus_000.nii.gz",
        "fetus_001.nii.gz",
    ]


@pytest.mark.parametrize(
    "arguments", [["--count", "0"], ["--seed", "-1"], ["--pathology", "2"], ["--size", "9"], ["--shift", "sideways"]]
)
def test_make_ultrasound_refuses_senseless_numbers(tmp_path, arguments):
    with pytest.raises(SystemExit) as caught:
        make_ultrasound.main([str(tmp_path), *arguments])
    assert caught.value.code == 2


def test_make_ultrasound_says_when_it_cannot_write(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert make_ultrasound.main([str(tmp_path / "file"), "--count", "1", "--size", "64"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.fixture
def decathlon_server(tmp_path, monkeypatch):
    """MONAI's own download, checksum and unpacking, with an archive on this disk in place of the network's."""
    task, source = "Task09_Spleen", tmp_path / "server" / "Task09_Spleen"
    for part in ("imagesTr", "labelsTr"):
        write_volume(source / part / "spleen_2.nii.gz", np.zeros((4, 4, 4), np.uint8), np.eye(4))
        (source / part / "._spleen_2.nii.gz").touch()
    archive = tmp_path / "server" / f"{task}.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(source, task)
    monkeypatch.setitem(DecathlonDataset.resource, task, archive.as_uri())
    monkeypatch.setitem(DecathlonDataset.md5, task, hashlib.md5(archive.read_bytes()).hexdigest())
    return task, archive


def test_a_decathlon_task_is_fetched_once_and_its_folder_printed(decathlon_server, tmp_path, capsys):
    task, archive = decathlon_server
    assert fetch.main([task, str(tmp_path / "data")]) == 0
    out = capsys.readouterr()
    assert out.out.splitlines()[-1] == str(tmp_path / "data" / task)
    assert "1 cases, 1 with a label" in out.err
    archive.unlink()
    assert fetch.main([task, str(tmp_path / "data")]) == 0


def test_a_damaged_download_is_refused(decathlon_server, tmp_path, capsys, monkeypatch):
    task, _ = decathlon_server
    monkeypatch.setitem(DecathlonDataset.md5, task, "0" * 32)
    assert fetch.main([task, str(tmp_path / "data")]) == 2
    assert "could not be fetched" in capsys.readouterr().err
    assert not (tmp_path / "data" / task).exists()


@pytest.mark.skipif(find_real_data("msd_hippocampus") is None, reason="no Decathlon hippocampus beside the checkout")
def test_real_data_at_hand_is_not_fetched_again(tmp_path, capsys):
    assert fetch.main(["Task04_Hippocampus", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out.strip() == str(find_real_data("msd_hippocampus").resolve())
    assert not (tmp_path / "data").exists()


def test_a_set_the_user_downloads_is_counted(tmp_path, capsys):
    (tmp_path / "volume-0.nii").touch()
    assert fetch.main(["lits", str(tmp_path)]) == 0
    assert "1 cases, 0 with a label" in capsys.readouterr().err


@pytest.mark.parametrize(("source", "doi"), [("totalsegmentator", "10.5281/zenodo"), ("lits", "10.1016/j.media")])
def test_a_set_that_is_not_there_says_where_to_get_it(tmp_path, capsys, source, doi):
    assert fetch.main([source, str(tmp_path)]) == 2
    assert doi in capsys.readouterr().err
