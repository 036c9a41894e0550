"""An hour of somebody who labels: cases are segmented by themselves, and the next one is there before it is asked for.

The whole module, its child process, and a real server.
"""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.servers import SERVE
from Testing.Python.SlicerUncertaintySeg.whole_panel import sitting_down
from Testing.Python.uncertaintyseg import tiny
from UncertaintySegLib.logic import keyboard, settings

CASES = [f"case_{number}" for number in range(4)]
MODEL = "tiny_low_rank"


@pytest.fixture(scope="module")
def server(launch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hour")
    tiny.write_phantoms(folder, len(CASES), **tiny.COARSE)
    tiny.give_random_weights(tiny.write_bundle(folder / "models", "low_rank", **tiny.COARSE_MODEL))
    command = [*SERVE, "--models", str(folder / "models"), "--cache", str(folder / "cache")]
    server = launch(command, sorted((folder / "images").glob("*.nii.gz")))
    for priority in ("now", "prefetch"):  # both workers load what they need before somebody waits for it
        asked = {"kind": "infer", "model": MODEL, "image": "case_0", "params": {"seed": len(priority)}}
        server.ended(server.job(**asked, priority=priority))
    return server


@pytest.fixture
def at_work(host, server, tmp_path, monkeypatch):
    """Somebody with the module as it comes, connected, at a server whose cases have no label and no lease."""
    for case in server.images():
        if "final" in server.http.get("/datastore/?output=all").json()["objects"][case]["labels"]:
            server.remove_label(case)
    with sitting_down(host, tmp_path, monkeypatch, by_itself=True) as user:
        user.connect(server.url)
        user.choose_model(MODEL)
        yield user


def press(user, name: str) -> int:
    """Press a key by what it does; returns the presses that it takes, without Shift and the like."""
    user.key({key.name: key.sequence for key in keyboard.KEYS}[name])
    return 1


def segmented(user, *, but: str = "") -> str:
    """The case that is open, once it is another one and its segmentation is shown."""
    state = user.state
    there = lambda: state.sample is not None and state.sample.id != but and state.result is not None  # noqa: E731
    user.desktop.wait_until(there)
    return state.sample.id


def events(server, name: str) -> list[dict]:
    """What the audit trail says of something, the oldest first."""
    entries = server.http.get("/uncertainty/v1/audit", params={"last": 1000}).json()
    return [entry for entry in reversed(entries) if entry["event"] == name]


def held(server) -> list[str]:
    return [case["id"] for case in server.http.get("/uncertainty/v1/cases").json()["cases"] if case["lease"]]


def final(server) -> set[str]:
    cases = server.http.get("/uncertainty/v1/cases").json()["cases"]
    return {case["id"] for case in cases if case["status"] == "labelled"}


def test_cases_with_nothing_wrong_take_two_key_presses_at_most(at_work, server):
    user, done, case = at_work, [], ""
    presses = press(user, "next_case")
    for _ in range(3):
        case = segmented(user, but=case)
        assert not user.is_error, user.status
        done.append(case)
        presses += press(user, "submit")
    segmented(user, but=case)
    assert presses <= 2 * len(done)
    assert presses == len(done) + 1  # one for each, and one to begin with
    assert final(server) == set(done)
    user.wait()


def test_the_next_case_is_here_before_anybody_asks_and_nobody_has_it(at_work, server):
    user, asked = at_work, len(events(server, "infer"))
    press(user, "next_case")
    first = segmented(user)
    user.wait()  # for what was prefetched as well
    [prefetched] = [entry["case"] for entry in events(server, "infer")[asked:] if "prefetch_for" in entry]
    assert prefetched != first
    downloads = user.session.folder
    assert (downloads / "scans" / f"{prefetched}.nii").is_file()
    assert held(server) == [first]
    before = {path: path.stat().st_mtime_ns for path in downloads.rglob("*.nii.gz")}
    served = len(events(server, "serve"))
    settings.remember("prefetch", False)
    press(user, "next_case")
    assert segmented(user, but=first) == prefetched
    user.wait()
    after = {path: path.stat().st_mtime_ns for path in downloads.rglob("*.nii.gz")}
    assert after == before  # nothing came twice, and nothing more was needed
    assert (held(server), len(events(server, "serve"))) == ([prefetched], served + 1)


@pytest.mark.parametrize("reason", ["preference", "label", "draft"])
def test_nothing_is_segmented_by_itself(at_work, server, reason):
    user = at_work
    settings.remember("prefetch", False)
    settings.remember("segmentByItself", reason != "preference")
    if reason != "preference":
        user.open("case_0")
        segmented(user)
        user.ui("Edit").insideRiskCheckBox.setChecked(False)
        user.paint((8, 8, 4))
        if reason == "label":
            user.press("Edit", "submitButton")
        else:
            user.desktop.answers.buttons.append("Ok")
        user.open("case_1")
        segmented(user, but="case_0")
    user.open("case_0")
    assert (user.state.sample.id, user.state.result) == ("case_0", None)


def test_what_runs_by_itself_can_be_cancelled(at_work):
    user = at_work
    settings.remember("prefetch", False)
    seen = []
    user.session.segment_wanted.connect(lambda: seen.append(user.session.cancel()))
    user.open("case_2")
    assert seen
    assert (user.state.sample.id, user.state.result, user.status) == ("case_2", None, "Cancelled.")


def test_what_runs_by_itself_says_what_went_wrong(host, full_server, tmp_path, monkeypatch):
    full_server.job_states = [{"state": "failed", "fraction": 0.0, "error": "the scan is one slice"}]
    with sitting_down(host, tmp_path, monkeypatch, by_itself=True) as user:
        user.connect(full_server.url)
        user.next_case()
        assert (user.state.sample.id, user.is_error, user.status) == ("phantom_1", True, "the scan is one slice")
