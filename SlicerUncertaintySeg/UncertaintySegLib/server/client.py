"""The server's routes as methods.

    client = Client("http://127.0.0.1:8000")
    sample = client.next_sample("predictive_entropy")
    result = client.infer("hippocampus_low_rank", sample.id)
    path = client.fetch_map(result, "predictive_entropy", folder)

No `slicer` here: the same client serves scripts and other viewers. What is long is answered in the JSON of the wire,
which `replies` reads.
"""

from __future__ import annotations

import contextlib
import http
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from UncertaintySegLib.errors import Cancelled, ServerError
from UncertaintySegLib.server import problems
from UncertaintySegLib.server.parsing import SAME_VERSION, parse
from UncertaintySegLib.server.replies import Job, Sample, ServerInfo, parse_info, parse_sample
from UncertaintySegLib.server.results import InferResult, parse_result
from UncertaintySegLib.server.transport import ByteProgress, Kept, Transport, sha256

DEFAULT_URL = "http://127.0.0.1:8000"
JobProgress = Callable[[Job], None]

_POLL_SECONDS = (0.02, 0.25)
_POLL_SHARE = 0.1  # of the time that a job has taken already, between two looks at it
_WORK_SECONDS = 600.0
"""For answers that wait for a worker, which may have a training or another person's inference to end first."""
_HEALTH_SECONDS = 5.0
_OURS = "/uncertainty/v1"


class Client:
    """A MONAI Label server with the uncertainty routes.

    Args:
        url: Address of the server.
        token: Sent as a Bearer token when given.
        timeout: Seconds without a byte after which a request is given up.

    Raises:
        ServerError: From every method, with one clear message, when the server is absent, silent, or refuses.
        Cancelled: From every method, after `stop`.
    """

    def __init__(self, url: str = DEFAULT_URL, token: str | None = None, timeout: float = 30.0) -> None:
        self._transport = Transport(url, token, timeout)
        self._cancelling = Transport(url, token, timeout)  # works after `stop`, too

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._transport.url

    def stop(self) -> None:
        """Break off what runs in other threads; the server is told to stop its part."""
        self._transport.stop()

    def info_json(self) -> dict[str, Any]:
        """Return what the server says of itself, as it says it."""
        try:
            info = self._transport.json("GET", "/info/")
        except ServerError as error:
            raise problems.of_first_contact(self.url, error) from error
        if not isinstance(info, dict):
            raise problems.not_ours(self.url)
        return info

    def info(self) -> ServerInfo:
        """Return the models and strategies that the server offers."""
        return parse_info(self.info_json())

    def health(self) -> dict[str, Any]:
        """Return that the server answers; empty for a stock MONAI Label server, which has no such route."""
        try:
            return self._transport.json("GET", f"{_OURS}/health", timeout=_HEALTH_SECONDS) or {}
        except ServerError as error:
            if error.status is None:
                raise
            return {}

    def who(self) -> dict[str, Any]:
        """Return `username` and `roles` of the token; empty where the server does not say."""
        try:
            return self._transport.json("GET", "/auth/token/valid") or {}
        except ServerError:
            return {}

    def cases(
        self, model: str | None = None, client_id: str | None = None
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Return all cases of the server, and files that it does not serve, with the reason.

        `replies.parse_case` reads a row.
        """
        query = {name: value for name, value in {"model": model, "client_id": client_id}.items() if value}
        answer = self._transport.json("GET", f"{_OURS}/cases", query)
        return _part(answer, "cases"), answer.get("skipped") or {}

    def sample(self, strategy: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the case to look at next, without an id when there is none; `replies.parse_sample` reads it."""
        return self._transport.json("POST", f"/activelearning/{quote(strategy, safe='')}", body=params or {}) or {}

    def next_sample(self, strategy: str) -> Sample | None:
        """Return the case to look at next, or None when every case has a label."""
        reply = self.sample(strategy)
        return parse_sample(reply) if reply.get("id") else None

    def take(self, image: str, minutes: float, client_id: str | None = None) -> dict[str, Any]:
        """Take a case by name: others do not get it for so many minutes. Refused while another has it."""
        body = {"minutes": minutes, "client_id": client_id}
        return self._transport.json("POST", _case(image, "lease"), body=body)

    def give_back(self, image: str, client_id: str | None = None) -> None:
        """Let others have a case."""
        self._transport.json("DELETE", _case(image, "lease"), {"client_id": client_id} if client_id else None)

    def fetch_image(
        self, image: str, folder: Path, progress: ByteProgress | None = None, kept: Kept | None = None
    ) -> Path:
        """Download a scan into `folder` under the server's name for it, and return its path.

        With `kept` one that was downloaded before is only checked; see `Transport.download`.
        """
        path = f"/datastore/image?image={quote(image, safe='')}"
        return self._transport.download(path, folder, None, progress, kept)

    def fetch_saved_label(self, image: str, tag: str, folder: Path, progress: ByteProgress | None = None) -> Path:
        """Download a label that was submitted, and return its path."""
        path = f"/datastore/label?label={quote(image, safe='')}&tag={quote(tag, safe='')}"
        return self._transport.download(path, folder, None, progress)

    def warnings(self, model: str, image: str) -> list[str]:
        """Return what a person should know before a model runs on an image; none where the server does not say."""
        body = {"model": model, "image": image}
        try:
            return list(_part(self._transport.json("POST", f"{_OURS}/check", body=body), "warnings"))
        except ServerError as error:
            if error.status in (404, 405):  # of a server of old, or one that is not ours
                return []
            raise

    def match(self, model: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """Return which label of a model each part of a segmentation is, and which models know the rest."""
        return self._transport.json("POST", f"{_OURS}/match", body={"model": model, "parts": parts})

    def submit(
        self, kind: str, model: str, image: str | None = None, params: dict[str, Any] | None = None, **more: Any
    ) -> str:
        """Queue a job and return its id.

        Args:
            kind: "infer", "score" or "train".
            model: Name of a model in `info()`.
            image: Image id; a score job without one scores every unlabelled image.
            params: Parameters of the model, e.g. `{"seed": 1}`.
            more: Further fields of the request: `priority="prefetch"` for what nobody waits for, and `client_id`.
        """
        request = {"kind": kind, "model": model, "image": image, "params": params or {}, **more}
        return str(_part(self._transport.json("POST", f"{_OURS}/jobs", body=request), "id"))

    def job(self, job_id: str) -> Job:
        """Return the present state of a job."""
        return parse(Job, self._transport.json("GET", f"{_OURS}/jobs/{quote(job_id, safe='')}"))

    def cancel(self, job_id: str) -> None:
        """Stop a queued or running job."""
        self._cancelling.json("DELETE", f"{_OURS}/jobs/{quote(job_id, safe='')}")

    def wait(self, job_id: str, progress: JobProgress | None = None, *, cancel: bool = True) -> dict[str, Any]:
        """Wait for a job and return its result.

        Args:
            job_id: What `submit` returned.
            progress: Called with every state seen. When it raises (say `Cancelled`), the job is cancelled too.
            cancel: False lets it go on then: others may wait for the same.

        Raises:
            Cancelled: If somebody cancelled the job.
        """
        started = time.monotonic()
        try:
            while True:
                job = self.job(job_id)
                if progress:
                    progress(job)
                if job.state in ("done", "failed", "cancelled"):
                    break
                shortest, longest = _POLL_SECONDS
                time.sleep(min(max(shortest, _POLL_SHARE * (time.monotonic() - started)), longest))
        except BaseException:
            if cancel:
                with contextlib.suppress(ServerError):
                    self.cancel(job_id)
            raise
        if job.state == "cancelled":
            raise Cancelled("The job was cancelled.")
        if job.state == "failed":
            raise ServerError(job.error or "The job failed: the server's log says why.")
        return job.result or {}

    def infer(
        self, model: str, image: str, params: dict[str, Any] | None = None, progress: JobProgress | None = None
    ) -> InferResult:
        """Segment an image and wait for the result; see `wait` for `progress`."""
        return parse_result(self.wait(self.submit("infer", model, image, params), progress))

    def score(self, model: str, image: str | None = None, progress: JobProgress | None = None) -> dict[str, float]:
        """Score one image, or every unlabelled one, and return `{image id: score}`; see `wait` for `progress`."""
        return _part(self.wait(self.submit("score", model, image), progress), "scores")

    def condition(self, key: str, corrections: dict[str, Any]) -> dict[str, Any]:
        """Correct a result by all clicks that hold; `results.parse_result` reads the answer."""
        return self._transport.json("POST", _result(key, "condition"), body=corrections, timeout=_WORK_SECONDS)

    def review(
        self, key: str, label: Path, params: dict[str, Any], progress: ByteProgress | None = None
    ) -> dict[str, Any]:
        """Ask for the risk of an edited label by a result; `results.parse_result` reads the answer."""
        path, form = _result(key, "review"), {"params": json.dumps(params)}
        return self._transport.upload("POST", path, "label", label, None, form, progress, _WORK_SECONDS)

    def guarantee(self, key: str, alpha: float, delta: float | None = None) -> dict[str, Any]:
        """Ask for the promise of a result at another bound: `guarantee`, null with a `guarantee_reason`."""
        query = {name: value for name, value in {"alpha": alpha, "delta": delta}.items() if value is not None}
        answer = self._transport.json("GET", _result(key, "guarantee"), query)
        return {"result": key, "guarantee": _part(answer, "guarantee"), "guarantee_reason": answer["guarantee_reason"]}

    def samples(self, key: str, count: int, seed: int) -> list[dict[str, Any]]:
        """Draw whole segmentations: `url`, `seed` and `volumes_ml` of each, the smallest first."""
        path, body = _result(key, "samples"), {"count": count, "seed": seed}
        drawn = _part(self._transport.json("POST", path, body=body, timeout=_WORK_SECONDS), "samples")
        if not drawn:
            raise ServerError("The server drew no plausible segmentations.")
        return drawn

    def fetch_label(self, result: InferResult, folder: Path, progress: ByteProgress | None = None) -> Path:
        """Download the label of a result; one already in `folder` is only checked."""
        return self.fetch(result.label_url, folder / result.key, progress)

    def fetch_map(self, result: InferResult, name: str, folder: Path, progress: ByteProgress | None = None) -> Path:
        """Download one risk map of a result; one already in `folder` is only checked."""
        return self.fetch(result.maps[name].url, folder / result.key, progress)

    def fetch(self, url: str, folder: Path, progress: ByteProgress | None = None) -> Path:
        """Download a file of a result under the name it has there; one already in `folder` is only checked."""
        return self._transport.download(url, folder, re.split("[/?]", url)[-1], progress)

    def has_image(self, image: str, file: Path) -> bool:
        """Return whether the server has a scan of this name with the bytes of this file."""
        try:
            self._transport.json("HEAD", "/datastore/image", {"image": image, "check_sum": f"SHA256:{sha256(file)}"})
        except ServerError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def upload_image(
        self,
        image: str,
        file: Path,
        progress: ByteProgress | None = None,
        channels: Sequence[Path] = (),
        *,
        axis: str = "",
        spacing_known: bool = True,
    ) -> str:
        """Add a scan, with the files of its further `channels` in order, to the server's studies and return its id.

        With an `axis` of "time" it is a clip, whose third axis that is; without `spacing_known` its pixels are counted.
        """
        path, query, others = "/datastore/image", {"image": image}, [("channels", other) for other in channels]
        query |= {"axis": axis} if axis else {}
        query |= {} if spacing_known else {"spacing": "unknown"}
        sent = self._transport.upload("PUT", path, "file", file, query, None, progress, _WORK_SECONDS, others)
        return _part(sent, "image")

    def review_label(self, image: str, tag: str, review: dict[str, Any]) -> None:
        """Say what a reviewer thinks of a saved label: `status`, `level`, `comment`, and the `version` that was seen.

        `approvedBy` counts where nobody logs in.
        """
        query, form = {"label": image, "tag": tag}, {"info": json.dumps({"segmentationMeta": review})}
        self._transport.form("PUT", "/datastore/label/info", query, form)

    def versions(self, image: str, tag: str) -> dict[str, Any]:
        """List every state that a label has had; `label_replies.parse_versions` reads it."""
        return self._transport.json("GET", _case(image, "versions"), {"tag": tag})

    def compare_versions(self, image: str, version: int, to: int) -> dict[str, Any]:
        """Ask where two versions differ; `label_replies.parse_comparison` reads it."""
        path, query = f"{_case(image, 'versions')}/{version}/compare", {"to": str(to)}
        return self._transport.json("GET", path, query, timeout=_WORK_SECONDS)

    def fetch_version(self, image: str, version: int, folder: Path, progress: ByteProgress | None = None) -> Path:
        """Download the file of a version, and return its path."""
        return self._transport.download(f"{_case(image, 'versions')}/{version}/label", folder, None, progress)

    def restore_version(self, image: str, version: int) -> dict[str, Any]:
        """Make a version count again; the answer is the new version."""
        return self._transport.json("POST", f"{_case(image, 'versions')}/{version}/restore")

    def readers(self, image: str) -> dict[str, Any]:
        """Ask where several people's labels of a case differ; `label_replies.parse_readings` reads it."""
        return self._transport.json("GET", _case(image, "readers"), timeout=_WORK_SECONDS)

    def archive(self, image: str) -> dict[str, Any]:
        """Ask whose a case is in the archive that it comes from; `replies.ArchiveState` has the answer."""
        return self._transport.json("GET", _case(image, "archive"), timeout=_WORK_SECONDS)

    def send_to_archive(
        self, image: str, version: int, report: Path, progress: ByteProgress | None = None
    ) -> dict[str, Any]:
        """Have a version of a case's label and a report on it, a PDF, stored in its archive; answers as `archive`."""
        path, query = _case(image, "archive"), {"version": str(version)}
        return self._transport.upload("POST", path, "report", report, query, None, progress, _WORK_SECONDS)

    def upload_label(
        self,
        image: str,
        file: Path,
        tag: str = "final",
        params: dict[str, Any] | None = None,
        progress: ByteProgress | None = None,
    ) -> dict[str, Any]:
        """Store a label for an image; `params` may name the `model`, the `result` and `seconds_open`."""
        query, form = {"image": image, "tag": tag}, {"params": json.dumps(params or {})}
        return self._transport.upload("PUT", "/datastore/label", "label", file, query, form, progress, _WORK_SECONDS)


def _part(answer: Any, name: str) -> Any:
    """Return a part of an answer. Raises `ServerError` where it has none of that name."""
    if not isinstance(answer, dict) or name not in answer:
        raise ServerError(f"The server's answer lacks '{name}': {SAME_VERSION}")
    return answer[name]


def _case(image: str, what: str) -> str:
    return f"{_OURS}/cases/{quote(image, safe='')}/{what}"


def _result(key: str, what: str) -> str:
    return f"{_OURS}/results/{quote(key, safe='')}/{what}"
