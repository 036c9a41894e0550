"""The wire on `http.server`, for what a healthy server does not do on command: drop, stall, refuse, fail, wait."""

from __future__ import annotations

import copy
import email
import email.policy
import hashlib
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

MAPS = {
    "predictive_entropy": {"unit": "nats", "range": [0, 1.0986], "source": "total"},
    "mutual_information": {"unit": "nats", "range": [0, 1.0986], "source": "epistemic"},
}
STRUCTURES = [
    {
        "name": "organ",
        "id": 1,
        "volume_ml": 17.214,
        "volume_ml_95": [16.1, 18.42],
        "interval_method": "64 coherent samples",
        "mean_risk": 0.0421,
        "expected_dice": 0.953,
        "flag": None,
    },
    {
        "name": "lesion",
        "id": 2,
        "volume_ml": 0.52,
        "volume_ml_95": None,
        "interval_method": "none: this head has no coherent samples",
        "mean_risk": 0.2134,
        "expected_dice": None,
        "flag": "mean risk above 0.2",
    },
]
PROVENANCE = {"model": "phantom_low_rank", "head": "low_rank", "weights_checksum": "ab12cd", "seed": 3}


class WireServer:
    """A server with one case. The dictionaries say, by the start of a path, what shall go wrong there.

    Attributes:
        drops: How many connections to break before any answer.
        truncations: How many answers to break off halfway.
        delays: Seconds to wait before answering.
        refusals: `(status, body)` to answer with instead.
        job_states: What successive looks at a job see; the last one stays.
        requests: `(method, path, headers)` of all requests.
        uploads: `(query, file name, content)` of all labels received.
    """

    def __init__(self, case) -> None:
        self.case = case
        self.drops: Counter[str] = Counter()
        self.truncations: Counter[str] = Counter()
        self.delays: dict[str, float] = {}
        self.refusals: dict[str, tuple[int, bytes]] = {}
        self.job_states = [{"state": "done", "fraction": 1.0}]
        self.remaining = 1
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.uploads: list[tuple[dict[str, list[str]], str, bytes]] = []
        self._httpd = _QuietServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"wire": self}))
        self.url = f"http://127.0.0.1:{self._httpd.server_port}"

    @contextmanager
    def running(self):
        """Answer while the block runs."""
        thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._httpd.shutdown()
            self._httpd.server_close()

    def count(self, method: str, start: str) -> int:
        """Return how many requests there were to paths with this start."""
        return sum(m == method and p.startswith(start) for m, p, _ in self.requests)

    def info(self) -> dict:
        labels = {label.name: label.id for label in self.case.labels}
        model = {"type": "segmentation", "labels": labels, "dimension": 3, "description": "a phantom"}
        ours = {"head": "low_rank", "bundle": "phantom_low_rank", "maps": list(MAPS), "checksum": "ab12cd"}
        models = {"phantom_low_rank": {**model, **ours}, "stock_model": model}
        strategies = {"random": {}, "predictive_entropy": {}}
        return {"name": "Uncertainty server", "version": "0.1", "models": models, "strategies": strategies}

    def result(self) -> dict:
        base = "/uncertainty/v1/results/k3y"
        maps = {name: {**entry, "url": f"{base}/maps/{name}.nii.gz"} for name, entry in MAPS.items()}
        labels = [vars(label) for label in self.case.labels]
        return {
            "risk": {"result": "k3y", "maps": maps, "structures": copy.deepcopy(STRUCTURES), "provenance": PROVENANCE},
            "label": f"{base}/label.nii.gz",
            "label_names": {label.name: label.id for label in self.case.labels},
            "labels": labels,
        }


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Say nothing: clients hang up here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: WireServer

    def log_message(self, *_):
        pass

    def _serve(self):
        wire, path = self.wire, self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wire.requests.append((self.command, path, dict(self.headers)))
        for start, seconds in wire.delays.items():
            if path.startswith(start):
                time.sleep(seconds)
        if self._take(wire.drops):
            self.close_connection = True
            self.connection.close()
            return
        for start, (status, content) in wire.refusals.items():
            if path.startswith(start):
                self._answer(content, status)
                return
        self._route(urlsplit(path).path, body)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _take(self, counter: Counter[str]) -> bool:
        for start in counter:
            if self.path.startswith(start) and counter[start] > 0:
                counter[start] -= 1
                return True
        return False

    def _route(self, path: str, body: bytes):
        wire = self.wire
        if path == "/info/":
            self._json(wire.info())
        elif path.startswith("/activelearning/"):
            strategy = unquote(path.rsplit("/", 1)[1])
            reason = "phantom_low_rank: mean predictive entropy 0.123 nats within 3 mm of the foreground, rank 1 of 12"
            sample = {"id": wire.case.name, "strategy": {strategy: {"ts": 1}}, "score": 0.123, "reason": reason}
            self._json(sample if wire.remaining else {})
        elif path == "/datastore/image":
            self._file(wire.case.scan, {"Content-Disposition": f'attachment; filename="{wire.case.name}.nii.gz"'})
        elif path == "/datastore/label":
            self._save_label(body)
        elif path == "/uncertainty/v1/jobs":
            self._json({"id": "job-1"}, 202)
        elif path.startswith("/uncertainty/v1/jobs/"):
            self._job()
        elif path.endswith("/label.nii.gz"):
            self._result_file(wire.case.label)
        elif "/maps/" in path:
            self._result_file(wire.case.risk)
        else:
            self._json({"detail": "Not Found"}, 404)

    def _job(self):
        wire = self.wire
        if self.command == "DELETE":
            wire.job_states = [{"state": "cancelled", "fraction": 0.0}]
            self._answer(b"", 204)
            return
        state = wire.job_states[0] if len(wire.job_states) == 1 else wire.job_states.pop(0)
        result = wire.result() if state["state"] == "done" else None
        job = {"id": "job-1", "kind": "infer", "queue_position": 0, "stage": "inference", "eta_s": None, "error": None}
        self._json({**job, "result": result, **state})

    def _save_label(self, body: bytes):
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts()
        query = parse_qs(urlsplit(self.path).query)
        self.wire.uploads.append((query, part.get_filename(), part.get_payload(decode=True)))
        self._json({"image": query["image"][0], "label": query["image"][0]})

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
