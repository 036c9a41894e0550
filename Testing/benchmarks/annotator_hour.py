"""Presses and seconds of waiting from one segmented case to the next, where nothing is wrong with the label.

Ours is the module's own logic, through its child process, until scan, label and map are in the scene. MONAI Label's
Slicer module is the protocol below, replayed by MONAI Label's own client: what it waits for in Slicer's main thread,
less what its window, its scene and its files take. All runs have the same real server and the same four cases; the
steps to the last three count. A folder of one's own scans, and a model for them, may take the place of the hippocampi.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import nibabel as nib
from common import console, machine, show
from infer_overhead import serve
from monailabel.client import MONAILabelClient

from slicer_host import desktop

host = desktop.start()  # brings slicer.i18n, which the logic imports

from UncertaintySegLib.logic import keyboard, settings  # noqa: E402
from UncertaintySegLib.logic.attention import Attention  # noqa: E402
from UncertaintySegLib.logic.cases import Cases  # noqa: E402
from UncertaintySegLib.logic.drafts import Drafts  # noqa: E402
from UncertaintySegLib.logic.editing import Editing  # noqa: E402
from UncertaintySegLib.logic.inference import Inference  # noqa: E402
from UncertaintySegLib.logic.prefetch import Prefetch  # noqa: E402
from UncertaintySegLib.logic.run_choice import RunChoice  # noqa: E402
from UncertaintySegLib.logic.safekeeping import Safekeeping  # noqa: E402
from UncertaintySegLib.logic.session import Session  # noqa: E402
from UncertaintySegLib.logic.submission import Submission  # noqa: E402
from UncertaintySegLib.scene.case import CaseScene  # noqa: E402
from UncertaintySegLib.server.replies import parse_info  # noqa: E402
from UncertaintySegLib.server.worker_client import WorkerClient  # noqa: E402

STRATEGY = "predictive_entropy"
CASES, CLIENT = 4, "benchmark"
_PUMP_SECONDS = 0.01  # as the panel's timer
_SOURCE = "plugins/slicer/MONAILabel/MONAILabel.py of Project-MONAI/MONAILabel, tag 0.8.5"


@dataclass
class Step:
    """One step of MONAI Label's module.

    Attributes:
        what: it does.
        line: of its source.
        presses: keys or buttons that a person presses for it.
        wait: what it waits for in the main thread; None where that is only the person.
        seconds: of each time.
    """

    what: str
    line: int
    presses: int = 0
    wait: Callable[[], object] | None = None
    seconds: list[float] = field(default_factory=list)

    def take(self) -> None:
        """Take the step."""
        start = time.perf_counter()
        if self.wait is not None:
            self.wait()
        self.seconds.append(time.perf_counter() - start)

    @property
    def median(self) -> str:
        """Seconds of waiting, for a table."""
        return "" if self.wait is None else f"{statistics.median(self.seconds):.2f}"


class StockModule:
    """MONAI Label's module with its settings as they come, less what is not a request."""

    def __init__(self, url: str, folder: Path, model: str, seed: int) -> None:
        self.client = MONAILabelClient(url, str(folder), client_id=CLIENT)
        self.url, self.model, self.seed, self.folder = url, model, seed, folder
        self.sample: dict = {}
        self.label, self.names = "", []
        self.client.info()
        opening = [
            Step("POST /activelearning", 1268, wait=self._next),
            Step("GET /datastore/image", 1303, wait=self._download),
            Step("GET /datastore/, for a label of old", 1309, wait=self.client.datastore),
            Step("POST /infer, as 'Auto-Run' is set", 1565, wait=self._infer),
        ]
        for step in opening:  # the first case of the day
            step.take()
            step.seconds.clear()
        self.steps = [
            Step("Submit Label: the button", 1452, presses=1),
            Step("PUT /datastore/label", 1508, wait=self._save),
            Step("GET /info/, to show the new counts", 1509, wait=self.client.info),
            Step("'Label-Mask saved': OK", 1531, presses=1),
            Step("Next Sample: the button", 1242, presses=1),
            Step("'This will close current scene': OK", 1247, presses=1),
            *opening,
        ]

    def submit_and_next(self) -> None:
        """From the press that submits a case to the next one's segmentation."""
        for step in self.steps:
            step.take()

    def _save(self) -> None:
        named = [{"name": name, "idx": number} for number, name in enumerate(self.names, start=1)]
        self.client.save_label(self.sample["id"], self.label, params={"label_info": named})

    def _next(self) -> None:
        self.sample = self.client.next_sample(STRATEGY, {})

    def _download(self) -> None:
        url = f"{self.url}/datastore/image?image={quote_plus(self.sample['id'])}"
        urllib.request.urlretrieve(url, self.folder / "scan.nii.gz")

    def _infer(self) -> None:
        params = {"result_extension": ".nrrd", "result_dtype": "uint8", "seed": self.seed}
        self.label, told = self.client.infer(self.model, self.sample["id"], params)
        self.names = sorted(told["label_names"], key=told["label_names"].get)


class OurModule:
    """The module's logic as the panel joins it, without widgets."""

    def __init__(self, url: str, folder: Path, model: str, seed: int | None, *, prefetch: bool) -> None:
        for key, value in {"segmentByItself": True, "prefetch": prefetch, "clientId": CLIENT}.items():
            settings.remember(key, value)
        self.session = session = Session(CaseScene(host.scene), WorkerClient(), folder)
        session.url, session.state.model = url, model
        self.cases = Cases(session)
        self.prefetch = Prefetch(session, self.cases, lambda: STRATEGY)
        choice = RunChoice()
        inference = Inference(session, lambda _warnings: True, lambda model, _confined: RunChoice().params(model))
        editing = Editing(session)
        keeping = Safekeeping(session, editing, Drafts(folder / "drafts"))
        self.submission = Submission(session, editing, keeping, Attention(session))
        session.ask("connect", {}, lambda answer: setattr(session.state, "info", parse_info(answer["info"])))
        self._pump_until(lambda: session.state.info is not None)
        chosen = session.state.info.models[model]
        [option] = [option for option in chosen.run_options if option.name == "seed"]
        choice.choose_value(chosen, option, option.default if seed is None else seed)
        session.segment_wanted.connect(lambda: inference.run(session.state.info.models[model]))
        session.next_wanted.connect(lambda: self.cases.next(STRATEGY))
        self.cases.next(STRATEGY)  # the first case of the day, and what is prefetched beside it
        self._pump_until(self._is_shown_after(""))
        self.rest()

    def rest(self) -> None:
        """Look at the case until nothing is under way any more."""
        self._pump_until(lambda: not self.session.busy and not self.session.worker.pending)

    def close(self) -> None:
        """Give the case back and end the child process."""
        self.session.close_case()
        self.rest()
        self.session.close()

    def submit_and_next(self) -> None:
        """Until the next case is in the scene, segmented."""
        before = self.session.state.sample.id
        self.submission.submit(then_next=True)
        self._pump_until(self._is_shown_after(before))

    def _is_shown_after(self, case: str) -> Callable[[], bool]:
        state = self.session.state
        return lambda: state.sample is not None and state.sample.id != case and state.result is not None

    def _pump_until(self, condition: Callable[[], bool], seconds: float = 1800.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            assert not self.session.state.is_error, self.session.state.message
            self.session.pump()
            time.sleep(_PUMP_SECONDS)


@contextmanager
def server(scans: list[Path], model: str) -> Iterator[httpx.Client]:
    """A server that has its model loaded, in both of its workers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "studies").mkdir()
        for scan in scans:
            shutil.copy(scan, folder / "studies")
        process, client = serve(folder, folder / "studies")
        try:
            for priority in ("now", "prefetch"):
                asked = {"kind": "infer", "model": model, "image": _images(client)[0], "params": {"seed": 1}}
                reply = client.post("/uncertainty/v1/jobs", json={**asked, "priority": priority}).raise_for_status()
                job = f"/uncertainty/v1/jobs/{reply.json()['id']}"
                while client.get(job).json()["state"] in ("queued", "running"):
                    time.sleep(0.1)
            yield client
        finally:
            client.close()
            process.terminate()
            process.wait()


def _images(client: httpx.Client) -> list[str]:
    return sorted(client.get("/datastore/?output=all").json()["objects"])


def timed(client: httpx.Client, submit_and_next: Callable[[], None], rest: Callable[[], None]) -> list[float]:
    """Seconds from the press to the next case, three times; afterwards no case has a label any more."""
    seconds = []
    for _ in range(CASES - 1):
        start = time.perf_counter()
        submit_and_next()
        seconds.append(time.perf_counter() - start)
        rest()
    for image in _images(client):
        client.delete("/datastore/label", params={"id": image, "tag": "final"})
    return seconds


def ours(client: httpx.Client, model: str, seed: int | None, *, prefetch: bool = False) -> list[float]:
    """Of our module, with an empty folder for downloads."""
    with tempfile.TemporaryDirectory() as folder:
        module = OurModule(str(client.base_url), Path(folder), model, seed, prefetch=prefetch)
        seconds = timed(client, module.submit_and_next, module.rest)
        module.close()
    return seconds


def stock(client: httpx.Client, model: str, seed: int) -> tuple[list[float], list[Step]]:
    """Of MONAI Label's module, and its steps."""
    with tempfile.TemporaryDirectory() as folder:
        module = StockModule(str(client.base_url), Path(folder), model, seed)
        return timed(client, module.submit_and_next, lambda: None), module.steps


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of scans; the first four count")
    parser.add_argument("--model", default="hippocampus_low_rank", help="a model that the server has")
    options = parser.parse_args()
    scans = sorted(options.data.glob("*.nii.gz"))[:CASES]
    assert len(scans) == CASES, f"{options.data} holds {len(scans)} scans; four are needed"
    sizes = [" x ".join(map(str, nib.load(scan).shape)) for scan in scans]
    console.print(f"{machine()}, load {os.getloadavg()[0]:.1f} before")
    with server(scans, options.model) as client:  # a seed that nobody has asked for is new to the server
        cold, steps = stock(client, options.model, 11)
        cached, steps_cached = stock(client, options.model, 11)
        times = (
            ("MONAI Label's", "new to the server", cold),
            ("MONAI Label's", "inferred before", cached),
            ("ours", "new to the server", ours(client, options.model, 12)),
            ("ours", "inferred before", ours(client, options.model, 12)),
            ("ours, as it comes", "prefetched", ours(client, options.model, None, prefetch=True)),
        )
    protocol = [
        [step.what, str(step.line), str(step.presses or ""), step.median, other.median]
        for step, other in zip(steps, steps_cached, strict=True)
    ]
    show(f"MONAI Label's module: {_SOURCE}", ["step", "line", "presses", "s, cold", "s, cached"], protocol)
    presses = {"MONAI Label's": sum(step.presses for step in steps)}
    rows = [
        [who, state, str(presses.get(who, 1)), f"{statistics.median(each):.2f}", f"{min(each):.2f} to {max(each):.2f}"]
        for who, state, each in times
    ]
    show(
        f"{options.model}, {CASES - 1} cases of {', '.join(dict.fromkeys(sizes[1:]))} voxels",
        ["module", "next case is", "presses", "s of waiting", "range"],
        rows,
    )
    submit = next(key for key in keyboard.KEYS if key.name == "submit")
    console.print(f"Our press is {submit.sequence}: {submit.text}. Load {os.getloadavg()[0]:.1f} after.")


if __name__ == "__main__":
    main()
