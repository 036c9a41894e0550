"""The server's routes as methods.

    client = Client("http://127.0.0.1:8000")
    sample = client.next_sample("predictive_entropy")
    result = client.infer("hippocampus_low_rank", sample.id)
    path = client.fetch_map(result, "predictive_entropy", folder)

No `slicer` here: the same client serves scripts and other viewers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from UncertaintySegLib.errors import Cancelled, ServerError
from UncertaintySegLib.replies import InferResult, Job, Sample, ServerInfo, parse, parse_info, parse_result
from UncertaintySegLib.transport import ByteProgress, Transport

DEFAULT_URL = "http://127.0.0.1:8000"
JobProgress = Callable[[Job], None]

_POLL_SECONDS = 0.25


class Client:
    """A MONAI Label server with the uncertainty routes.

    Args:
        url: Address of the server.
        token: Sent as a Bearer token when given.
        timeout: Seconds without a byte after which a request is given up.

    Raises:
        ServerError: From every method, with one clear message, when the server is absent, silent, or refuses.
    """

    def __init__(self, url: str = DEFAULT_URL, token: str | None = None, timeout: float = 30.0) -> None:
        self._transport = Transport(url, token, timeout)

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._transport.url

    def info(self) -> ServerInfo:
        """Return the models and strategies that the server offers."""
        info = self._transport.json("GET", "/info/")
        if not isinstance(info, dict):
            raise ServerError(f"{self.url} does not answer like a MONAI Label server: is the address right?")
        return parse_info(info)

    def next_sample(self, strategy: str) -> Sample | None:
        """Return the case to look at next, or None when every case has a label."""
        reply = self._transport.json("POST", f"/activelearning/{quote(strategy, safe='')}", body={})
        return parse(Sample, reply) if reply and reply.get("id") else None

    def fetch_image(self, image: str, folder: Path, progress: ByteProgress | None = None) -> Path:
        """Download a scan into `folder` under the server's name for it, and return its path."""
        return self._transport.download(f"/datastore/image?image={quote(image, safe='')}", folder, None, progress)

    def submit(self, kind: str, model: str, image: str | None = None, params: dict[str, Any] | None = None) -> str:
        """Queue a job and return its id.

        Args:
            kind: "infer" or "score".
            model: Name of a model in `info()`.
            image: Image id; a score job without one scores every unlabelled image.
            params: Parameters of the model, e.g. `{"seed": 1}`.
        """
        request = {"kind": kind, "model": model, "image": image, "params": params or {}}
        return self._transport.json("POST", "/uncertainty/v1/jobs", body=request)["id"]

    def job(self, job_id: str) -> Job:
        """Return the present state of a job."""
        return parse(Job, self._transport.json("GET", f"/uncertainty/v1/jobs/{quote(job_id, safe='')}"))

    def cancel(self, job_id: str) -> None:
        """Stop a queued or running job."""
        self._transport.json("DELETE", f"/uncertainty/v1/jobs/{quote(job_id, safe='')}")

    def wait(self, job_id: str, progress: JobProgress | None = None) -> dict[str, Any]:
        """Wait for a job and return its result.

        Args:
            job_id: What `submit` returned.
            progress: Called with every state seen. When it raises (say `Cancelled`), the job is cancelled too.

        Raises:
            Cancelled: If somebody cancelled the job.
        """
        try:
            while True:
                job = self.job(job_id)
                if progress:
                    progress(job)
                if job.state in ("done", "failed", "cancelled"):
                    break
                time.sleep(_POLL_SECONDS)
        except BaseException:
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
        return self.wait(self.submit("score", model, image), progress)["scores"]

    def fetch_label(self, result: InferResult, folder: Path, progress: ByteProgress | None = None) -> Path:
        """Download the label of a result; one already in `folder` is only checked."""
        return self._transport.download(result.label_url, folder / result.key, "label.nii.gz", progress)

    def fetch_map(self, result: InferResult, name: str, folder: Path, progress: ByteProgress | None = None) -> Path:
        """Download one risk map of a result; one already in `folder` is only checked."""
        return self._transport.download(result.maps[name].url, folder / result.key, f"{name}.nii.gz", progress)

    def upload_label(self, image: str, file: Path, tag: str = "final", progress: ByteProgress | None = None) -> str:
        """Store a label for an image and return the label's id."""
        reply = self._transport.upload("/datastore/label", {"image": image, "tag": tag}, "label", file, progress)
        return reply["label"]
