"""Stands between our server and an Orthanc, so that a test can break the way at a chosen moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


class ArchiveProxy:
    """Passes requests on to an archive.

    Attributes:
        url: Of its DICOMweb service.
        is_down: Whether it hangs up on everybody.
        after_store: Called once an object is stored, before that is answered; the answer is then lost.
        stored: How many objects were sent.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.is_down = False
        self.after_store: Callable[[], None] | None = None
        self.stored = 0
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.url = f"http://127.0.0.1:{self._httpd.server_port}/dicom-web"
        threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: ArchiveProxy

    def log_message(self, *_):
        pass

    def _pass_on(self):
        proxy = self.proxy
        if proxy.is_down:
            self.close_connection = True
            return
        body = self._body()
        headers = {k: v for k, v in self.headers.items() if k.lower() in ("accept", "content-type", "authorization")}
        answer = httpx.request(
            self.command, f"{proxy.target}{self.path}", content=body, headers=headers, timeout=60
        )  # fmt: skip
        if self.command == "POST":
            proxy.stored += 1
            if proxy.after_store is not None:
                proxy.after_store()
                self.close_connection = True
                return
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("content-type", ""))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = _pass_on

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body
