"""No text that leaves the server says where its files are, however the path was written; the name of the file stays."""

from __future__ import annotations

import html
import json
import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from pydantic import BaseModel, field_validator
from starlette.exceptions import HTTPException

from monailabel_app import folders
from monailabel_app.api import errors
from monailabel_app.errors import NotFoundError, told
from monailabel_app.folders import Folders, all_without_folders, hide, without_folders
from uncertaintyseg.errors import InputError

STUDIES = "/data/my studiés"
SCAN = f"{STUDIES}/ward/case 07.nii.gz"
CACHE = "/data/cache"
KNOWN = Folders([Path(STUDIES)], [Path(CACHE), Path("/home/me"), Path("/srv"), Path("/")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{SCAN}: cut short", "ward/case 07.nii.gz: cut short"),
        (f"{SCAN!r} and {SCAN}", "'ward/case 07.nii.gz' and ward/case 07.nii.gz"),
        (ascii(SCAN), "'ward/case 07.nii.gz'"),
        (json.dumps(SCAN), '"ward/case 07.nii.gz"'),
        (json.dumps(json.dumps(SCAN)), '"\\"ward/case 07.nii.gz\\""'),
        (repr(SCAN.encode("ascii", "replace")), "b'ward/case 07.nii.gz'"),
        (f"file://{quote(SCAN)}", "file:ward/case%2007.nii.gz"),
        (quote(SCAN, safe=""), "ward%2Fcase%2007.nii.gz"),
        (html.escape(SCAN), "ward/case 07.nii.gz"),
        (unicodedata.normalize("NFD", SCAN), "ward/case 07.nii.gz"),
        (unicodedata.normalize("NFC", SCAN), "ward/case 07.nii.gz"),
        (SCAN.replace("/", "\\"), "ward\\case 07.nii.gz"),
        (repr(SCAN.replace("/", "\\")), "'ward\\\\case 07.nii.gz'"),
        (SCAN.replace("/", "//").replace("//ward", "/./ward"), "ward//case 07.nii.gz"),
        (f"line\\n{SCAN}", "line\\nward/case 07.nii.gz"),
        (f"{STUDIES}: is away", "the studies folder: is away"),
        (f"{STUDIES}/", "the studies folder"),
        (f"it is {STUDIES}.", "it is the studies folder."),
        (
            f"{CACHE}/decoded/0a/b.nii.gz is not on the grid of {CACHE}/decoded/1/c.nii.gz: 3 mm/px",
            "b.nii.gz is not on the grid of c.nii.gz: 3 mm/px",
        ),
        ("[Errno 2] No such file: '/home/me/My Data/a b.nii'", "[Errno 2] No such file: 'a b.nii'"),
        ("'/home/me/a/b' -> '/data/cache/c/d'", "'b' -> 'd'"),
        ("(/srv/x/y.png)", "(y.png)"),
        ("/srv", "a folder of the server"),
        ("/home/me/x/", "a folder of the server"),
    ],
)
def test_a_path_is_told_by_what_a_user_knows_it_by(text, said):
    assert KNOWN.without(text) == said


@pytest.mark.parametrize("length", range(len("no: /data/"), len(f"no: {STUDIES}")))
@pytest.mark.parametrize("end", ["", "…", "...", "'"])
def test_a_text_that_was_cut_within_a_folder_does_not_tell_its_beginning(length, end):
    found = KNOWN.without(f"no: {STUDIES}"[:length] + end)
    assert "/data" not in found
    assert "my" not in found
    assert found.startswith("no: ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET /info/srv/x",
        "/srvx/y",
        "/home/mean",
        "mm/px",
        "case_07: 3 of 4",
        "http://host:80/datastore/?output=all",
    ],
)
def test_what_is_no_path_of_the_server_stays(text):
    assert KNOWN.without(text) == text


def test_a_link_is_known_and_what_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    known = Folders([tmp_path / "link"], [tmp_path])
    for folder in ("real", "link"):
        assert known.without(f"{tmp_path / folder / 'case.png'}: bad") == "case.png: bad"


def test_names_and_values_of_json_at_any_depth(served):
    path = str(served / "a.nii.gz")
    assert all_without_folders({path: [{"x": path, "n": 1.5}, None, True]}) == {
        "a.nii.gz": [{"x": "a.nii.gz", "n": 1.5}, None, True]
    }


@pytest.fixture
def served(tmp_path, monkeypatch) -> Path:
    """A studies folder whose name no answer may have."""
    monkeypatch.setattr(folders, "_known", folders._known)
    studies = tmp_path / "séances 1"
    studies.mkdir()
    hide([studies], [tmp_path / "cache"])
    return studies


def test_of_a_bug_nothing_is_told_but_its_kind(served):
    assert told(InputError(f"{served / 'a.png'}: damaged")) == "a.png: damaged"
    for bug in (ValueError(str(served)), FileNotFoundError(2, "No such file", str(served / "a"))):
        assert told(bug) == f"a bug in the server ({type(bug).__name__}); its log has the details"


class Body(BaseModel):
    value: str

    @field_validator("value")
    @classmethod
    def check(cls, value: str) -> str:
        raise ValueError(f"{value} is not one of ours")


def raising(error: Exception):
    def route() -> None:
        raise error from OSError(2, "No such file", "/hidden/by/the/chain")

    return route


def test_no_handler_of_errors_tells_a_folder(served, caplog):
    path = served / "case_07.nii.gz"
    faults = {
        "ours": (400, InputError(f"{path}: a clip of 3 frames")),
        "missing": (404, NotFoundError(f"no file {path!s}")),
        "monailabel": (400, MONAILabelException(MONAILabelError.INFERENCE_ERROR, f"cannot read {path}")),
        "http": (404, HTTPException(404, f"Log File {path} NOT Found")),
        "fields": (404, HTTPException(404, {"file": [str(path)]})),
        "system": (500, PermissionError(13, "Permission denied", str(path))),
        "bug": (500, RuntimeError(f"{path}")),
    }
    app = FastAPI()
    errors.install(app)
    for name, (_, error) in faults.items():
        app.get(f"/{name}")(raising(error))

    @app.post("/malformed")
    def malformed(body: Body, _n: int = Query(0)) -> None: ...

    client = TestClient(app, raise_server_exceptions=False)
    answers = {name: client.get(f"/{name}") for name in faults}
    answers["malformed"] = client.post("/malformed", json={"value": str(path)})
    for name, answer in answers.items():
        assert answer.status_code == faults.get(name, (422,))[0], name
        said = json.dumps(answer.json(), ensure_ascii=False)
        assert served.name not in said, name
        assert str(served.parent) not in said, name
        assert "hidden" not in answer.text, name
        assert ("case_07.nii.gz" in answer.text) == (answer.status_code != 500), name
    assert f"{path}: a clip of 3 frames" in caplog.text  # the log says where


def test_folders_of_this_machine_are_hidden_before_any_is_named():
    assert without_folders(f"{Path.home() / 'x' / 'case.png'}: bad") == "case.png: bad"
