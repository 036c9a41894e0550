"""The wire on `http.server`, for what a healthy server does not do on command: drop, stall, refuse, fail, wait."""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import nibabel as nib
import numpy as np

from Testing.Python.SlicerUncertaintySeg.wire_answers import STRUCTURES, find_regions, info, promise, result


class Wire:
    """A server with one case, or several of the same scan.

    The dictionaries say, by the start of a path, what shall go wrong there.

    Args:
        case: `name`, and the paths `scan`, `label` and `risk`.
        labels: What the label holds, as the wire says it.

    Attributes:
        drops: How many connections to break before any answer.
        truncations: How many answers to break off halfway.
        delays: Seconds to wait before answering.
        refusals: `(status, body)` to answer with instead.
        job_states: What successive looks at a job see; the last one stays.
        job_result: What a job ends with.
        info: What the server says of itself.
        names: Of the cases, in the order in which they are served.
        remaining: How many cases have no label.
        scored: Whether the case has a score.
        requests: `(method, path, headers)` of all requests.
        uploads: `(query, file name, content, params)` of all labels and scans received, `query` None for reviews.
        bodies: `(path, body)` of all JSON received.
        archived: Whose the case is in the archive, and what has arrived there.
    """

    def __init__(self, case: dict[str, str], labels: list[dict]) -> None:
        self.case = {"name": case["name"], **{key: Path(case[key]) for key in ("scan", "label", "risk")}}
        self.labels = labels
        self.drops: dict[str, int] = {}
        self.truncations: dict[str, int] = {}
        self.delays: dict[str, float] = {}
        self.refusals: dict[str, tuple[int, bytes]] = {}
        self.job_states = [{"state": "done", "fraction": 1.0}]
        self.job_result = result("k3y", labels, find_regions(self.case, labels))
        self.info = info(labels)
        self.names = [self.case["name"]]
        self.remaining = 1
        self.scored = True
        self.lease: dict | None = None
        self.leased = self.case["name"]
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.uploads: list[tuple[dict[str, list[str]] | None, str, bytes, dict]] = []
        self.bodies: list[tuple[str, dict]] = []
        self.archived = {"archive": "https://pacs/dicom-web", "patient_name": "Doe^Jane", "patient_id": "17"}
        self.archived |= {"version": None, "label": "none", "label_uid": None, "report": "none", "report_uid": None}
        self._port = 0
        self.open()
        self.url = f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Answer, at the same address as before."""
        self._httpd = _QuietServer(("127.0.0.1", self._port), type("Handler", (_Handler,), {"wire": self}))
        self._port = self._httpd.server_port
        serve = {"poll_interval": 0.02}
        threading.Thread(target=self._httpd.serve_forever, kwargs=serve, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._httpd.shutdown()
        self._httpd.server_close()

    def row(self, name: str) -> dict:
        """A case as a row of the work list."""
        final = [query["image"] for query, *_ in self.uploads if query and query.get("tag") == ["final"]]
        labelled = [name] in final
        lease = self.lease if name == self.leased else None
        status = "labelled" if labelled else "leased" if lease else "unlabelled"
        value = 0.123 if self.scored else None
        scores = {"predictive_entropy": value} if self.scored else {}
        score = {"score": value, "scores": scores, "model": "phantom_low_rank"}
        row = {"id": name, "status": status, "lease": lease, "skipped": False, **score}
        return {**row, "labels": ["final"] if labelled else [], "reason": "rank 1 of 1"}


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Say nothing: clients hang up here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Wire

    def log_message(self, *_):
        pass

    def _serve(self):
        wire, path = self.wire, self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wire.requests.append((self.command, path, dict(self.headers)))
        for start, seconds in list(wire.delays.items()):
            if path.startswith(start):
                time.sleep(seconds)
        if self._take(wire.drops):
            self.close_connection = True
            self.connection.close()
            return
        for start, (status, content) in list(wire.refusals.items()):
            if path.startswith(start):
                self._answer(content, status)
                return
        self._route(urlsplit(path).path, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve

    def _take(self, counter: dict[str, int]) -> bool:
        for start, left in counter.items():
            if self.path.startswith(start) and left > 0:
                counter[start] -= 1
                return True
        return False

    def _route(self, path: str, body: bytes):
        for pattern, answer in _ROUTES.items():
            if re.fullmatch(pattern, path):
                answer(self, path, body)
                return
        self._json({"detail": "Not Found"}, 404)

    def _info(self, _path: str, _body: bytes):
        self._json(self.wire.info)

    def _health(self, _path: str, _body: bytes):
        self._json({"status": "ok"})

    def _who(self, _path: str, _body: bytes):
        self._json({"username": "anna", "roles": ["annotator"]})

    def _cases(self, _path: str, _body: bytes):
        self._json({"cases": [self.wire.row(name) for name in self.wire.names]})

    def _lease(self, path: str, body: bytes):
        self.wire.leased = unquote(path.split("/")[-2])
        if self.command == "DELETE":
            self.wire.lease = None
            self._answer(b"", 204)
            return
        asked = self._read_json(body)
        self.wire.lease = {
            "annotator": asked.get("client_id") or "local", "until": time.time() + 60 * asked["minutes"], "mine": True,
        }  # fmt: skip
        self._json(self.wire.lease)

    def _next_sample(self, path: str, body: bytes):
        wire = self.wire
        exclude = self._read_json(body).get("exclude", ())
        left = [name for name in wire.names if name not in exclude]
        strategy = unquote(path.rsplit("/", 1)[1])
        remaining = {"unlabelled": wire.remaining, "scored": wire.remaining, "skipped": 0, "locked": 0}
        if not (wire.remaining and left):
            why = "every other image has a final label" if wire.remaining else "all images have a final label"
            self._json({"strategy": strategy, "samples": [], "reason": why})
            return
        reason = "phantom_low_rank: mean predictive entropy 0.123 nats within 3 mm of the foreground, rank 1 of 12"
        sample = {"id": left[0], "score": 0.123, "reason": reason}
        full = {**sample, "provenance": {"measure": "predictive_entropy", "rank": 1, "of": 12}}
        self._json({"strategy": strategy, **sample, "samples": [full], "remaining": remaining})

    def _image(self, _path: str, body: bytes):
        wire = self.wire
        if self.command == "HEAD":
            asked = parse_qs(urlsplit(self.path).query)["check_sum"]
            known = [f"SHA256:{hashlib.sha256(content).hexdigest()}" for _, _, content, _ in wire.uploads]
            self._answer(b"", 200 if asked[0] in known else 404)
            return
        if self.command == "PUT":
            query = self._save(body)
            self._json({"image": query["image"][0]})
            return
        name = f"{parse_qs(urlsplit(self.path).query)['image'][0]}.nii.gz"
        self._file(wire.case["scan"], {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"})

    def _label(self, _path: str, body: bytes):
        wire = self.wire
        if self.command == "PUT":
            query = self._save(body)
            self._json({"image": query["image"][0], "label": query["image"][0]})
            return
        saved = [content for query, _, content, _ in wire.uploads if query and "tag" in query]
        name = f"{wire.case['name']}.nii.gz"
        self._answer(saved[-1], 200, {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"})

    def _archive(self, _path: str, body: bytes):
        if self.command == "POST":
            self._save(body)
            self.wire.archived |= {"label": "stored", "report": "stored"}
        self._json(self.wire.archived)

    def _submit(self, _path: str, body: bytes):
        self._read_json(body)
        self._json({"id": "job-1"}, 202)

    def _job(self, _path: str, _body: bytes):
        wire = self.wire
        if self.command == "DELETE":
            wire.job_states = [{"state": "cancelled", "fraction": 0.0}]
            self._answer(b"", 204)
            return
        state = wire.job_states[0] if len(wire.job_states) == 1 else wire.job_states.pop(0)
        ended = wire.job_result if state["state"] == "done" else None
        job = {"id": "job-1", "kind": "infer", "queue_position": 0, "stage": "inference", "eta_s": None, "error": None}
        self._json({**job, "result": ended, **state})

    def _condition(self, _path: str, body: bytes):
        """The label and maps stay as they are; the region that holds a click is gone."""
        wire, asked = self.wire, self._read_json(body)
        clicks = [voxel for name, voxels in asked.items() if name not in _OTHERS for voxel in voxels]
        regions = [region for region in find_regions(wire.case, wire.labels) if not _holds(region, clicks)]
        moved = {"moved": "shape" if asked else "none", "alone": 0, "offer": None}
        maps = tuple((wire.job_result["risk"]).get("maps") or ())
        self._json({**result("c0nd", wire.labels, regions, maps), **moved})

    def _review(self, _path: str, body: bytes):
        wire = self.wire
        self._save(body, review=True)
        reviewed = result("r3v", wire.labels, find_regions(wire.case, wire.labels), ("error_probability", "anomaly"))
        for row in reviewed["risk"]["structures"]:
            row |= {"excess_error_ml": 0.0, "anomaly_score": 0.0}
        self._json(reviewed)

    def _samples(self, _path: str, body: bytes):
        asked = self._read_json(body)
        label = nib.load(self.wire.case["label"])
        voxel_ml = abs(np.linalg.det(label.affine[:3, :3])) / 1000
        volumes = {row["name"]: float((np.asarray(label.dataobj) == row["id"]).sum() * voxel_ml) for row in STRUCTURES}
        base = "/uncertainty/v1/results/k3y/samples"
        self._json(
            {
                "samples": [
                    {"url": f"{base}/{number}.nii.gz", "seed": asked["seed"], "volumes_ml": volumes}
                    for number in range(asked["count"])
                ]
            }
        )

    def _guarantee(self, path: str, _body: bytes):
        asked = {name: float(value) for name, (value,) in parse_qs(urlsplit(self.path).query).items()}
        self._json(promise(path.split("/")[-2], **asked))

    def _result_label(self, _path: str, _body: bytes):
        self._result_file(self.wire.case["label"])

    def _map(self, _path: str, _body: bytes):
        self._result_file(self.wire.case["risk"])

    def _read_json(self, body: bytes) -> dict:
        asked = json.loads(body or b"{}")
        self.wire.bodies.append((self.path, asked))
        return asked

    def _save(self, body: bytes, *, review: bool = False) -> dict[str, list[str]]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = list(email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts())
        file = next(part for part in parts if part.get_filename())
        form = {part.get_param("name", header="Content-Disposition"): part for part in parts if part is not file}
        params = json.loads(form["params"].get_payload(decode=True)) if "params" in form else {}
        query = parse_qs(urlsplit(self.path).query)
        upload = (None if review else query, file.get_filename(), file.get_payload(decode=True), params)
        self.wire.uploads.append(upload)
        return query

    def _result_file(self, file: Path):
        etag = f'"{hashlib.sha256(file.read_bytes()).hexdigest()}"'
        if self.headers.get("If-None-Match") == etag:
            self._answer(b"", 304, {"ETag": etag})
        else:
            self._file(file, {"ETag": etag})

    def _file(self, file: Path, headers: dict[str, str]):
        content = file.read_bytes()
        if self._take(self.wire.truncations):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self._answer(content, 200, headers)

    def _json(self, value, status: int = 200):
        self._answer(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _answer(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _holds(region: dict, clicks: list[list[int]]) -> bool:
    first, last = region["bounding_box"]
    return any(all(a <= i <= b for a, i, b in zip(first, click, last, strict=True)) for click in clicks)


_OTHERS = ("scribbles", "lassos", "boxes", "reach_mm")  # parts of a correction that are no clicks
_RESULTS = r"/uncertainty/v1/results/\w+"
_ROUTES = {
    "/info/": _Handler._info,
    "/uncertainty/v1/health": _Handler._health,
    "/auth/token/valid": _Handler._who,
    "/uncertainty/v1/cases": _Handler._cases,
    "/uncertainty/v1/cases/[^/]+/lease": _Handler._lease,
    "/uncertainty/v1/cases/[^/]+/archive": _Handler._archive,
    "/activelearning/[^/]+": _Handler._next_sample,
    "/datastore/image": _Handler._image,
    "/datastore/label": _Handler._label,
    "/uncertainty/v1/jobs": _Handler._submit,
    "/uncertainty/v1/jobs/[^/]+": _Handler._job,
    f"{_RESULTS}/condition": _Handler._condition,
    f"{_RESULTS}/review": _Handler._review,
    f"{_RESULTS}/guarantee": _Handler._guarantee,
    f"{_RESULTS}/samples": _Handler._samples,
    f"{_RESULTS}/label.nii.gz": _Handler._result_label,
    f"{_RESULTS}/samples/[^/]+": _Handler._result_label,
    f"{_RESULTS}/maps/[^/]+": _Handler._map,
}
