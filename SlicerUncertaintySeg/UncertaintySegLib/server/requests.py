"""What the child process does for the panel: each function is one request, asked by its name; JSON in, JSON out.

Files come unzipped, so that Slicer does not stand still while it reads them.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.ahead import Ahead
from UncertaintySegLib.server.files import require_one_volume, unzip
from UncertaintySegLib.server.request import JOB_SHARE, TAGS, Json, Request
from UncertaintySegLib.server.results import parse_result
from UncertaintySegLib.server.transport import Kept

_LEASE_MINUTES = 30.0
_AT_ONCE = 4  # downloads
_scans: Kept = {}
_ahead = Ahead()
_downloads: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


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


def next_case(request: Request, strategy: str, params: Json | None = None, ahead: Json | None = None) -> Json:
    """Take the next case by a strategy and download its scan; `scan` is null when there is none.

    With `ahead`, the `model`, `params` and `maps` that `infer` will be asked with for the case, that begins meanwhile.
    """
    sample = request.client.sample(strategy, params)
    image = sample.get("id")
    if image and ahead:
        asked = {**ahead, "image": image}
        _ahead.begin(_run_key(request, **asked), lambda: _run_ahead(request.silent(), **asked))
    return {"sample": sample, "scan": _scan(request, image) if image else None}


def open_case(
    request: Request, image: str, client_id: str | None = None, lease_minutes: float = _LEASE_MINUTES
) -> Json:
    """Take a case by its name, and download its scan and the label that it has, the final one first.

    With 0 minutes it is only looked at, whoever has it.
    """
    if lease_minutes:
        request.client.take(image, lease_minutes, client_id)
    row = next((row for row in request.client.cases(None, client_id)[0] if row["id"] == image), None)
    tag = next((tag for tag in TAGS if row and tag in row["labels"]), None)
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
    run: Json | None = None,
    client_id: str | None = None,
) -> Json:
    """Download the scan of the case that a strategy would serve next, and what a model says of it; nobody is served.

    The model runs while nobody waits for the server, with the `model`, `params` and `maps` of `run`, and not at all
    where a person would be asked first.
    """
    sample = request.client.sample(strategy, params)
    image = sample.get("id")
    if image:
        _scan(request, image)
        if run and not request.client.warnings(run["model"], image):
            asked = (run["model"], image, run["params"])
            job = request.client.submit("infer", *asked, priority="prefetch", client_id=client_id)
            _fetched(request, request.client.wait(job, request.job, cancel=False), run["maps"])
    return {"image": image, "seed": sample.get("seed")}


def renew_lease(request: Request, image: str, lease_minutes: float, client_id: str | None = None) -> Json:
    """Keep a case for longer."""
    return request.client.take(image, lease_minutes, client_id)


def give_back(request: Request, image: str, client_id: str | None = None) -> Json:
    """Let others have a case."""
    request.client.give_back(image, client_id)
    return {}


def upload_scan(
    request: Request, file: str, image: str, client_id: str | None = None, lease_minutes: float = _LEASE_MINUTES,
    channels: Sequence[str] = (), axis: str = "", spacing_known: bool = True,
) -> Json:  # fmt: skip
    """Add a scan, with the files of its further channels, to the server's studies, and take it.

    An `axis` of "time" says that it is a clip; of an image or a clip the spacing may be unknown.
    """
    others, kind = [Path(channel) for channel in channels], {"axis": axis, "spacing_known": spacing_known}
    added = request.client.upload_image(image, Path(file), lambda done: request.say("Uploading", done), others, **kind)
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
    if (answer := _ahead.take(_run_key(request, model, image, params, maps))) is not None:
        return answer
    if not anyway and (warnings := request.client.warnings(model, image)):
        return {"warnings": warnings}
    result = request.client.wait(request.client.submit("infer", model, image, params), request.job)
    return _fetched(request, result, maps)


def segment_case(
    request: Request, model: str, image: str, params: Json | None = None, file: str | None = None,
    channels: Sequence[str] = (), axis: str = "", spacing_known: bool = True,
) -> Json:  # fmt: skip
    """Have a case segmented and scored, which is then there for whoever opens it; `failed` says why where it is not.

    Args:
        request: The request.
        model: Name of the model.
        image: Id of the case.
        params: How the model is run.
        file: Where the scan is uploaded from, where the server has not got this very scan.
        channels: Files of its further channels, in order.
        axis: "time" of a clip that is uploaded.
        spacing_known: Of an image or a clip that is uploaded.
    """
    if file is not None and not request.client.has_image(image, Path(file)):
        others, kind = [Path(channel) for channel in channels], {"axis": axis, "spacing_known": spacing_known}

        def say(done: float) -> None:
            request.say("Uploading", 0.2 * done)

        request.client.upload_image(image, Path(file), say, others, **kind)
    result = request.client.wait(request.client.submit("score", model, image, params), request.job)
    return {"failed": (result.get("failed") or {}).get(image), "score": (result.get("scores") or {}).get(image)}


def fetch_maps(request: Request, result: str, maps: Mapping[str, str]) -> Json:
    """Download maps by the addresses that a result gives for them."""
    return {"maps": dict(zip(maps, _files(request, list(maps.values()), result)))}


def condition(request: Request, result: str, corrections: Json, maps: Sequence[str] = ()) -> Json:
    """Correct a result by clicks."""
    request.say("Correcting", 0.0)
    return _fetched(request, request.client.condition(result, corrections), maps)


def review(request: Request, result: str, file: str, params: Json | None = None, maps: Sequence[str] = ()) -> Json:
    """Learn the risk of an edited label."""
    raw = request.client.review(result, Path(file), params or {}, lambda f: request.say("Estimating the risk", 0.5 * f))
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
    label, *paths = _files(request, [result.label_url, *urls.values()], result.key, JOB_SHARE)
    return {"result": raw, "label": label, "maps": dict(zip(urls, paths))}


def _files(request: Request, urls: Sequence[str], key: str, start: float = 0.0) -> list[str]:
    """Download files at the same time, each into the folder of the result that has it.

    A review's maps may be those of what it reviews.
    """
    done = [0.0] * len(urls)

    def fetch(number: int) -> str:
        def progress(fraction: float) -> None:
            done[number] = fraction
            request.say("Downloading", start + (1.0 - start) * sum(done) / len(done))

        owner = re.search(r"/(?:results|readers)/([\w-]+)/", urls[number])
        folder = request.results / (owner.group(1) if owner else _key(key))
        return str(unzip(request.client.fetch(urls[number], folder, progress)))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(fetch, range(len(urls))))


def _run_ahead(request: Request, model: str, image: str, params: Json, maps: Sequence[str]) -> Json | None:
    """Do what `infer` does; None where a person has to be asked whether the model may run."""
    if request.client.warnings(model, image):
        return None
    return _fetched(request, request.client.wait(request.client.submit("infer", model, image, params)), maps)


def _run_key(request: Request, model: str, image: str, params: Json | None, maps: Sequence[str]) -> str:
    return json.dumps([request.client.url, model, image, params or {}, list(maps)], sort_keys=True)


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
