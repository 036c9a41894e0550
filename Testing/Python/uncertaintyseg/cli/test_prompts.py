"""What a model of SAM is asked for on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.Python.uncertaintyseg import sam_folders, tiny
from uncertaintyseg.cli.prompts import MARGIN, allow_of
from uncertaintyseg.data.prompts import MARGIN as USED
from uncertaintyseg.errors import InputError

pytest.importorskip("transformers")


@pytest.fixture
def scan(tmp_path, command) -> Path:
    sam_folders.write_folder(tmp_path / "sam-tiny", "sam")
    ended = command(
        "import", tmp_path / "sam-tiny", "--name", "my_sam", "--labels", "organ,lesion", "--output",
        tmp_path / "models", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert ended.json["labels"] == ["organ", "lesion"]
    tiny.write_phantoms(tmp_path / "data", 1, **tiny.COARSE)
    return tmp_path / "data" / "images" / "case_0.nii.gz"


def test_a_scan_is_segmented_from_boxes_and_points_with_its_doubt(scan, command, tmp_path):
    told = ("--models", tmp_path / "models", "--output", tmp_path / "out", "--json")
    ended = command(
        "predict", "my_sam", scan, "--box", "3,3,4; 12,12,4=organ", "--point", "8,8,2=lesion", "--point",
        "1,1,4=background", "--plane", "axial", "--method", "prompt_jitter", "--option", "passes=2", *told,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    asked = ended.json["provenance"]["params"]["prompts"]
    assert asked["boxes"] == [{"label": 1, "first": [3, 3, 4], "last": [12, 12, 4]}]
    assert asked["points"] == [{"label": 2, "voxel": [8, 8, 2]}, {"label": 0, "voxel": [1, 1, 4]}]
    assert (asked["plane"], asked["margin"]) == ("axial", USED) == ("axial", MARGIN)
    for options, said in (
        ((), "segments what it is asked for: give a box"),
        (("--box", "3,3,4; 12,12,99=organ"), "the prompt 12,12,99 lies outside of the image"),
        (("--box", "3,3,4=organ"), "--box 3,3,4=organ: give voxels as i,j,k from 0"),
        (("--point", "3,3,4=liver"), "end it with =NAME, one of background, organ, lesion"),
        (("--prompts-from", "nobody"), "there is no model 'nobody'"),
    ):
        assert said in command("predict", "my_sam", scan, *options, *told).message


def test_an_evaluation_is_prompted_by_a_model_and_never_by_a_reference(scan, command, tmp_path):
    tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", "deterministic", 3), 0)
    told = ("--models", tmp_path / "models", "--json")
    ended = command("evaluate", "my_sam", tmp_path / "data", "--prompts-from", "tiny_deterministic", *told)
    assert ended.code == 0, ended.err
    assert [row["id"] for row in ended.json["cases"]] == ["case_0"]
    refused = command(
        "evaluate", "my_sam", tmp_path / "data", "--prompts-from", tmp_path / "data" / "labels" / "case_0.nii.gz", *told
    )
    assert "a label would be a reference" in refused.message
    learnt = command("predict", "tiny_deterministic", scan, "--box", "3,3,4; 12,12,4=organ", *told)
    assert "tiny_deterministic has learnt what it segments and takes no prompts" in learnt.message
    assert "segments what it is asked for" in command("evaluate", "my_sam", tmp_path / "data", *told).message


_LONG_RUN = """
from uncertaintyseg.cli.console import console, progress_bar
from uncertaintyseg.cli.prompts import allow_of
with progress_bar() as progress:
    progress("encoding", 0.5)
    allow = allow_of(False)
    for _ in range(2):
        allow(1500)
    console.print("begun")
"""


@pytest.mark.parametrize(("answer", "begins"), [(b"y\n", True), (b"n\n", False)])
def test_on_a_terminal_a_long_run_is_asked_about_once_without_the_bar(answer, begins):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", _LONG_RUN], stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b""
        try:
            while b"Begin?" not in said:
                said += os.read(ours, 1024)
            os.write(ours, answer)
            while part := os.read(ours, 1024):
                said += part
        except OSError:  # Linux' way to say that nobody is at the other end any more
            pass
    os.close(ours)
    assert (process.returncode == 0) == begins
    assert (b"begun" in said) == begins
    assert said.count(b"This takes up to 25 minutes. Begin?") == 1


def test_where_nobody_can_be_asked_a_long_run_is_refused_without_yes(capfd):
    with pytest.raises(InputError, match="this takes up to 25 minutes: add --yes to run it, or ask for less"):
        allow_of(False)(1500)
    allow_of(True)(1500)
    assert "This takes up to 25 minutes." in capfd.readouterr().err
