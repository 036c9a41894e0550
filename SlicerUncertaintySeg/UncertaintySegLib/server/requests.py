"""What the child process does for the panel: each function is one request, asked by its name; JSON in, JSON out.

Files come unzipped, so that Slicer does not stand still while it reads them.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from UncertaintySegLib.errors import Cancelled, ServerError
from UncertaintySegLib.server.client import Client
from UncertaintySegLib.server.files import require_one_volume, trim, unzip
from UncertaintySegLib.server.replies import Job
from UncertaintySegLib.server.results import parse_result
from UncertaintySegLib.server.transport import Kept

Json = dict[str, Any]
Report = Callable[[str, float, "float | None"], None]

_TAGS = ("final", "original")  # of labels, the better first
_LEASE_MINUTES = 30.0
_JOB_SHARE = 0.9  # of the progress bar; the rest is the download
_scans: Kept = {}
_downloads: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


class Request:
    """One request under way: the server to ask, the folder for files, and whoever wants to know how far it is.

    Args:
        url: Address of the server.
        token: Access token, or empty.
        folder: Where downloads go.
        report: Gets the stage, the fraction (0 to 1) and the seconds left, None where nobody knows.
    """

    def __init__(self, url: str, token: str, folder: Path, report: Report) -> None:
        self.client = Client(url, token or None)
        self.scans, self.results = folder / "scans", folder / "results"
        self.versions = folder / "versions"
        self.labels = {tag: folder / "labels" / tag for tag in _TAGS}
        self._report = report
        self._stopped = threading.Event()

    def do(self, act: Callable[..., Json], arguments: Mapping[str, Any]) -> Json:
        """Call one of the functions below, then remove the oldest downloads. Raises `Cancelled` after `stop`."""
        answer = act(self, **arguments)
        self._check()
        trim([self.scans, self.results, self.versions, *self.labels.values()])
        return answer

    def stop(self) -> None:
        """Make the request end soon, and the server stop its part."""
        self._stopped.set()
        self.client.stop()

    def say(self, stage: str, fraction: float, eta_s: float | None = None) -> None:
        """Report how far the request is. Raises `Cancelled` after `stop`."""
        self._check()
        self._report(stage, min(max(fraction, 0.0), 1.0), eta_s)

    def downloading(self, start: float = 0.0, share: float = 1.0) -> Callable[[float], None]:
        """Return what tells how far a download is, as a share of the request."""
        return lambda fraction: self.say("Downloading", start + share * fraction)

    def job(self, job: Job) -> None:
        """Report the state of a job."""
        waiting = job.state == "queued" and job.queue_position
        stage = f"Waiting for {job.queue_position} other jobs" if waiting else job.stage.capitalize() or "Waiting"
        self.say(stage, _JOB_SHARE * job.fraction, job.eta_s)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Cancelled("Cancelled.")


def connect(request: Request) -> Json:
    """Learn what the server offers, and who we are to it."""
    info = request.client.info_json()
    return {"info": info, "health": request.client.health(), "who": request.client.who(), "url": request.client.url}


def health(request: Request) -> Json:
    """Learn whether the server answers."""
    return request.client.health()


def cases(request: Request, model: str | None = None, client_id: str | None = None) -> Json:
    """List the cases with status, lease and score, and the files that are `not_served`."""
    rows, not_served = request.client.cases(model, client_id)
    return {"cases": rows, "not_served": not_served}


def next_case(request: Request, strategy: str, params: Json | None = None) -> Json:
    """Take the next case by a strategy and download its scan; `scan` is null when there is none."""
    sample = request.client.sample(strategy, params)
    return {"sample": sample, "scan": _scan(request, sample["id"]) if sample.get("id") else None}


def open_case(
    request: Request, image: str, client_id: str | None = None, lease_minutes: float = _LEASE_MINUTES
) -> Json:
    """Take a case by its name, and download its scan and the label that it has, the final one first.

    With 0 minutes it is only looked at, whoever has it.
    """
    if lease_minutes:
        request.client.take(image, lease_minutes, client_id)
    row = next((row for row in request.client.cases(None, client_id)[0] if row["id"] == image), None)
    tag = next((tag for tag in _TAGS if row and tag in row["labels"]), None)
    label = None
    if tag:
        label = str(
            unzip(request.client.fetch_saved_label(image, tag, request.labels[tag], request.downloading(0.0, 0.1)))
        )
    return {"image": image, "scan": _scan(request, image), "label": label, "row": row}


def prefetch(
    request: Request,
    strategy: str,
    params: Json,
    model: str | None = None,
    run: Json | None = None,
    maps: Sequence[str] = (),
    client_id: str | None = None,
) -> Json:
    """Download the scan of the case that a strategy would serve next, and what a model says of it; nobody is served.

    The model runs, as `run` says, while nobody waits for the server, and not at all where a person would be asked
    first.
    """
    sample = request.client.sample(strategy, params)
    image = sample.get("id")
    if image:
        _scan(request, image)
        if model and not request.client.warnings(model, image):
            job = request.client.submit("infer", model, image, run, priority="prefetch", client_id=client_id)
            _fetched(request, request.client.wait(job, request.job, cancel=False), maps)
    return {"image": image, "seed": sample.get("seed")}


def renew_lease(request: Request, image: str, lease_minutes: float, client_id: str | None = None) -> Json:
    """Keep a case for longer."""
    return request.client.take(image, lease_minutes, client_id)


def give_back(request: Request, image: str, client_id: str | None = None) -> Json:
    """Let others have a case."""
    request.client.give_back(image, client_id)
    return {}


def upload_scan(
    request: Request, file: str, image: str, client_id: str | None = None, lease_minutes: float = _LEASE_MINUTES
) -> Json:
    """Add a scan to the server's studies, and take it."""
    added = request.client.upload_image(image, Path(file), lambda fraction: request.say("Uploading", fraction))
    with contextlib.suppress(ServerError):  # it is there all the same
        request.client.take(added, lease_minutes, client_id)
    return {"image": added}


def match(request: Request, model: str, parts: Sequence[Json]) -> Json:
    """Learn which label of a model each part of a segmentation is."""
    return request.client.match(model, list(parts))


def score(request: Request, model: str, image: str | None = None) -> Json:
    """Score one case, or all that have no label."""
    return {"scores": request.client.score(model, image, request.job)}


def infer(
    request: Request, model: str, image: str, params: Json | None = None, maps: Sequence[str] = (), anyway: bool = True
) -> Json:
    """Segment a case, and download its label and some of its maps.

    Without `anyway` the answer has nothing but `warnings` where there are some.
    """
    if not anyway and (warnings := request.client.warnings(model, image)):
        return {"warnings": warnings}
    result = request.client.wait(request.client.submit("infer", model, image, params), request.job)
    return _fetched(request, result, maps)


def segment_case(request: Request, model: str, image: str, params: Json | None = None, file: str | None = None) -> Json:
    """Have a case segmented and scored, which is then there for whoever opens it; `failed` says why where it is not.

    Args:
        request: The request.
        model: Name of the model.
        image: Id of the case.
        params: How the model is run.
        file: Where the scan is uploaded from, where the server has not got this very scan.
    """
    if file is not None and not request.client.has_image(image, Path(file)):
        request.client.upload_image(image, Path(file), lambda fraction: request.say("Uploading", 0.2 * fraction))
    result = request.client.wait(request.client.submit("score", model, image, params), request.job)
    return {"failed": (result.get("failed") or {}).get(image), "score": (result.get("scores") or {}).get(image)}


def fetch_maps(request: Request, result: str, maps: Mapping[str, str]) -> Json:
    """Download maps by the addresses that a result gives for them."""
    paths, share = {}, 1.0 / max(len(maps), 1)
    for number, (name, url) in enumerate(maps.items()):
        paths[name] = _file(request, url, result, number * share, share)
    return {"maps": paths}


def condition(request: Request, result: str, corrections: Json, maps: Sequence[str] = ()) -> Json:
    """Correct a result by clicks."""
    request.say("Correcting", 0.0)
    return _fetched(request, request.client.condition(result, corrections), maps)


def review(request: Request, result: str, file: str, params: Json | None = None, maps: Sequence[str] = ()) -> Json:
    """Learn the risk of an edited label."""
    raw = request.client.review(result, Path(file), params or {}, lambda f: request.say("Reviewing", 0.5 * f))
    return _fetched(request, raw, maps)


def guarantee(request: Request, result: str, alpha: float, delta: float | None = None) -> Json:
    """Learn what is promised of a result at a bound."""
    return request.client.guarantee(result, alpha, delta)


def samples(request: Request, result: str, count: int, seed: int = 0) -> Json:
    """Draw plausible segmentations and download them."""
    request.say("Drawing plausible segmentations", 0.0)
    drawn = request.client.samples(result, count, seed)
    for number, sample in enumerate(drawn):
        folder = request.results / _key(result) / "samples"
        progress = request.downloading(0.5 + 0.5 * number / len(drawn), 0.5 / len(drawn))
        sample["label"] = str(unzip(request.client.fetch(sample["url"], folder, progress)))
    return {"samples": drawn}


def submit(request: Request, image: str, file: str, tag: str = "final", params: Json | None = None) -> Json:
    """Save a label on the server."""
    return request.client.upload_label(
        image, Path(file), tag, params, lambda fraction: request.say("Submitting", fraction)
    )


def archive(request: Request, image: str) -> Json:
    """Learn whose a case is in its archive, and download the final label that the server has of it."""
    state = request.client.archive(image)
    label = None
    if state.get("version") is not None:
        folder, progress = request.labels["final"], request.downloading()
        label = str(unzip(request.client.fetch_saved_label(image, "final", folder, progress)))
    return {"state": state, "label": label}


def send_to_archive(request: Request, image: str, version: int, report: str) -> Json:
    """Have label and report of a case stored in its archive."""
    sent = request.client.send_to_archive(image, version, Path(report), lambda f: request.say("Sending", f))
    return {"state": sent}


def train(request: Request, model: str, params: Json | None = None) -> Json:
    """Train a model, or its head, on the labels that the server has."""
    return request.client.wait(request.client.submit("train", model, None, params), request.job)


def review_label(request: Request, image: str, review: Json, tag: str = "final") -> Json:
    """Keep what a reviewer says of a saved label; answers with its versions."""
    request.client.review_label(image, tag, review)
    return request.client.versions(image, tag)


def label_versions(request: Request, image: str, tag: str = "final") -> Json:
    """List every state that a label has had."""
    return request.client.versions(image, tag)


def compare_versions(request: Request, image: str, version: int, to: int) -> Json:
    """Learn where a version differs from another, and download its label."""
    found = request.client.compare_versions(image, version, to)
    folder = request.versions / str(version)
    return {**found, "label": str(unzip(request.client.fetch_version(image, version, folder)))}


def restore_version(request: Request, image: str, version: int, tag: str = "final") -> Json:
    """Make a version count again, and download it as the label that counts; `versions` has it."""
    request.client.restore_version(image, version)
    label = request.client.fetch_saved_label(image, tag, request.labels[tag], request.downloading())
    return {**request.client.versions(image, tag), "label": str(unzip(label))}


def readers(request: Request, image: str) -> Json:
    """Learn where several people's labels of a case differ."""
    return request.client.readers(image)


def _scan(request: Request, image: str) -> str:
    """Download a scan, unless it is here as the server has it; a download that is under way is waited for."""
    with _downloads[request.client.url, image]:
        path = unzip(request.client.fetch_image(image, request.scans, request.downloading(), _scans))
    require_one_volume(path)
    return str(path)


def _fetched(request: Request, raw: Json, maps: Sequence[str]) -> Json:
    result = parse_result(raw)
    urls = {name: result.maps[name].url for name in maps if name in result.maps}
    share = (1.0 - _JOB_SHARE) / (1 + len(urls))
    label = _file(request, result.label_url, result.key, _JOB_SHARE, share)
    paths = {
        name: _file(request, url, result.key, _JOB_SHARE + number * share, share)
        for number, (name, url) in enumerate(urls.items(), start=1)
    }
    return {"result": raw, "label": label, "maps": paths}


def _file(request: Request, url: str, key: str, start: float, share: float) -> str:
    """Download a file into the folder of the result that has it: a review's maps may be those of what it reviews."""
    owner = re.search(r"/(?:results|readers)/([\w-]+)/", url)
    folder = request.results / (owner.group(1) if owner else _key(key))
    return str(unzip(request.client.fetch(url, folder, request.downloading(start, share))))


def _key(key: str) -> str:
    return re.sub(r"[^\w-]", "_", key)


REQUESTS: dict[str, Callable[..., Json]] = {
    request.__name__: request
    for request in (
        connect,
        health,
        cases,
        next_case,
        prefetch,
        open_case,
        renew_lease,
        give_back,
        upload_scan,
        match,
        score,
        infer,
        segment_case,
        fetch_maps,
        condition,
        review,
        guarantee,
        samples,
        submit,
        archive,
        send_to_archive,
        review_label,
        label_versions,
        compare_versions,
        restore_version,
        readers,
        train,
    )
}
"""All requests by name."""

LAST = {give_back.__name__}
"""What is still done when Slicer closes."""
