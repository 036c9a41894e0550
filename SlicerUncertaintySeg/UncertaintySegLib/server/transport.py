"""HTTP to one server, on the standard library: JSON, streamed downloads and uploads, clear errors."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ipaddress
import json
import os
import re
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from UncertaintySegLib.errors import Cancelled, ServerError
from UncertaintySegLib.server import problems
from UncertaintySegLib.server.files import disk_error

T = TypeVar("T")
ByteProgress = Callable[[float], None]
Kept = dict[tuple[str, str], tuple[str, Path]]
"""ETag and file of downloads, by the server's address and the path there."""

_CHUNK = 1 << 18
_PAUSES = (0.2, 0.5, 1.0)  # seconds before each reconnection


class _DroppedError(ServerError):
    """The connection broke before the whole answer was here."""


class Transport:
    """Requests to one server.

    Every request has its own connection: any thread may make one, and a dropped one costs nothing but itself. GET
    requests that drop are repeated with growing pauses; others are not, for they may already have had their effect.

    Args:
        url: Address of the server, e.g. `http://127.0.0.1:8000`.
        token: Sent as a Bearer token when given; never in the clear to another machine.
        timeout: Seconds without a byte after which a request is given up.

    Raises:
        ServerError: From every method, when the server is absent, silent, or refuses.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 30.0) -> None:
        url = url.strip()
        parts = urlsplit(url if "://" in url else f"http://{url}")
        parts = parts._replace(path=parts.path.rstrip("/"), query="", fragment="")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            text = f"'{url}' is not a server address: it should look like http://127.0.0.1:8000."
            raise ServerError(text, field=problems.ADDRESS)
        try:
            self._port = parts.port
        except ValueError as error:
            text = f"'{url}' has no valid port: it should look like http://127.0.0.1:8000."
            raise ServerError(text, field=problems.ADDRESS) from error
        if token and parts.scheme == "http" and not _is_this_machine(parts.hostname):
            text = f"{url} would get the access token in the clear: use its https:// address."
            raise ServerError(text, field=problems.ADDRESS)
        self.url = parts.geturl()
        self._parts = parts
        self._token = token
        self._timeout = timeout
        self._stopped = False
        self._sockets: set[socket.socket] = set()

    def stop(self) -> None:
        """Break off all requests, those of other threads too, and let no new one begin: they raise `Cancelled`."""
        self._stopped = True
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, which another thread is reading

    def json(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request, with `body` as JSON when given, and return the JSON of the answer (None if it is empty).

        `timeout` is for answers that take the server longer than usual.
        """
        headers, data = {}, None
        if body is not None:
            headers, data = {"Content-Type": "application/json"}, json.dumps(body).encode()
        target = _with_query(path, query)

        def attempt() -> Any:
            with self._open(method, target, headers, data, timeout) as response:
                return self._parse_json(self._read(response))

        return self._with_reconnection(attempt) if method == "GET" else attempt()

    def form(self, method: str, path: str, query: dict[str, str], fields: dict[str, str]) -> Any:
        """Send a form without files, and return the JSON of the answer (None if it is empty)."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with self._open(method, _with_query(path, query), headers, urlencode(fields).encode()) as response:
            return self._parse_json(self._read(response))

    def download(
        self,
        path: str,
        folder: Path,
        name: str | None = None,
        progress: ByteProgress | None = None,
        kept: Kept | None = None,
    ) -> Path:
        """Download a file, streamed, into `folder`; it appears there only when it is whole.

        Args:
            path: Path on the server, or a full URL of the same server.
            folder: Where to put the file; made if need be.
            name: Name of the file; by default the one that the server gives. With a name, a file already there is
                kept if the server says that it is the same (`If-None-Match` with its SHA-256).
            progress: Called with the fraction so far; an exception from it stops the download.
            kept: What was downloaded before, without a name, and is kept if the server says that it is the same. What
                comes now is added.

        Returns:
            Path of the file.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return self._with_reconnection(lambda: self._download_once(path, folder, name, progress, kept))
        except OSError as error:
            raise disk_error(error, folder) from error

    def upload(
        self,
        method: str,
        path: str,
        field: str,
        file: Path,
        query: dict[str, str] | None = None,
        form: dict[str, str] | None = None,
        progress: ByteProgress | None = None,
        timeout: float | None = None,
        others: Sequence[tuple[str, Path]] = (),
    ) -> Any:
        """Send a file as a field of a multipart form, streamed, and return the JSON of the answer.

        Args:
            method: "PUT" or "POST".
            path: Path on the server.
            field: Name of the file's field.
            file: What to send.
            query: What follows the path.
            form: Further fields, of text.
            progress: Called with the fraction that has left.
            timeout: For answers that take the server longer than usual.
            others: Further files with their fields, sent behind it.
        """
        boundary = uuid.uuid4().hex
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in (form or {}).items()
        )
        files = [(field, file), *others]
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{part.name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
            for name, part in files
        ]
        heads = [(start + part).encode() for start, part in zip([head, *["\r\n"] * len(others)], parts)]
        tail = f"\r\n--{boundary}--\r\n".encode()
        size = sum(part.stat().st_size for _, part in files)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(sum(map(len, heads)) + size + len(tail)),
        }

        def body() -> Iterator[bytes]:
            sent = 0
            for start, (_, part) in zip(heads, files):
                yield start
                with part.open("rb") as stream:
                    while chunk := stream.read(_CHUNK):
                        yield chunk
                        sent += len(chunk)
                        if progress:
                            progress(sent / size)
            yield tail

        with self._open(method, _with_query(path, query), headers, body(), timeout) as response:
            return self._parse_json(self._read(response))

    def _download_once(
        self, path: str, folder: Path, name: str | None, progress: ByteProgress | None, kept: Kept | None
    ) -> Path:
        headers = {}
        name = _safe_name(name) if name else None
        tag, here = (kept or {}).get((self.url, path), ("", None))
        if name:
            here = folder / name
            tag = f'"{sha256(here)}"' if here.is_file() else ""
        if tag and here.is_file() and here.parent == folder:
            headers["If-None-Match"] = tag
        with self._open("GET", path, headers) as response:
            if response.status == http.HTTPStatus.NOT_MODIFIED:
                return here
            target = folder / (name or _safe_name(response.headers.get_filename() or Path(urlsplit(path).path).name))
            handle, partial = tempfile.mkstemp(prefix=f".{target.name}.", dir=folder)
            try:
                with os.fdopen(handle, "wb") as stream:
                    digest = self._stream(response, stream, progress)
                tag = response.getheader("ETag") or ""
                if re.fullmatch('"[0-9a-f]{64}"', tag) and tag != f'"{digest}"':
                    raise _DroppedError(f"{target.name} arrived damaged from {self.url}.")  # noqa: TRY301
                Path(partial).replace(target)
                if kept is not None:
                    kept[self.url, path] = (tag, target)
            except BaseException:
                Path(partial).unlink()
                raise
        return target

    def _stream(self, response: http.client.HTTPResponse, stream: Any, progress: ByteProgress | None) -> str:
        expected = int(response.getheader("Content-Length") or 0)
        digest, received = hashlib.sha256(), 0
        while chunk := self._read(response, _CHUNK):
            stream.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            if progress and expected:
                progress(received / expected)
        if received < expected:
            raise _DroppedError(f"The connection to {self.url} dropped after {received} of {expected} bytes.")
        return digest.hexdigest()

    @contextlib.contextmanager
    def _open(
        self, method: str, path: str, headers: dict[str, str], body: Any = None, timeout: float | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection_class = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[
            self._parts.scheme
        ]
        timeout = timeout or self._timeout
        connection = connection_class(self._parts.hostname, self._port, timeout=timeout)
        if self._token:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        sock = None
        try:
            with self._network_errors(timeout):
                connection.connect()
                sock = connection.sock
                self._sockets.add(sock)
                # A server that refuses an upload may answer and hang up before it has read it all.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, self._target(path), body, headers)
                response = connection.getresponse()
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise self._refusal(method, path, response)
            yield response
        finally:
            self._sockets.discard(sock)
            connection.close()

    def _target(self, path: str) -> str:
        """Return the request target; a URL of another server is refused, for it would be sent our token."""
        target = urlsplit(urljoin(f"{self.url}/", self._parts.path + path if path.startswith("/") else path))
        if (target.scheme, target.netloc) != (self._parts.scheme, self._parts.netloc):
            raise ServerError(
                f"{self.url} points to another server ({target.netloc}), which this module does not follow."
            )
        return target._replace(scheme="", netloc="", fragment="").geturl()

    @contextlib.contextmanager
    def _network_errors(self, timeout: float | None = None) -> Iterator[None]:
        try:
            self._check_stopped()
            yield
        except socket.timeout as error:  # noqa: UP041 - another class before Python 3.10
            raise ServerError(
                f"{self.url} did not answer within {timeout or self._timeout:g} seconds: it may be busy or stuck."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self._check_stopped()
            if (known := problems.no_answer(self.url, error)) is not None:
                raise known from error
            raise _DroppedError(f"The connection to {self.url} dropped ({error or type(error).__name__}).") from error
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self._stopped:
            raise Cancelled("Cancelled.")

    def _read(self, response: http.client.HTTPResponse, size: int | None = None) -> bytes:
        with self._network_errors():
            return response.read(size)

    def _parse_json(self, data: bytes) -> Any:
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise problems.not_ours(self.url) from error

    def _refusal(self, method: str, path: str, response: http.client.HTTPResponse) -> ServerError:
        detail = _detail(self._read(response), response.reason)
        status = response.status
        if status == http.HTTPStatus.UNAUTHORIZED:
            return problems.unauthorized(self.url, detail, sent=bool(self._token))
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            message = f"The server failed at {method} {path} ({status}: {detail}): its log says why."
        elif detail == "Not Found":
            message = f"{self.url} has no {urlsplit(path).path}: start the server with `uncertaintyseg serve`."
        else:
            message = detail
        return ServerError(message, status)

    def _with_reconnection(self, attempt: Callable[[], T]) -> T:
        for pause in _PAUSES:
            try:
                return attempt()
            except _DroppedError:  # noqa: PERF203
                time.sleep(pause)
        return attempt()


def _with_query(path: str, query: dict[str, str] | None) -> str:
    return f"{path}?{urlencode(query, quote_via=quote)}" if query else path


def _detail(body: bytes, reason: str) -> str:
    """Return the one message in an error reply, whichever of FastAPI's forms it has."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return reason
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, item.get('loc', ())))}: {item.get('msg', '')}" for item in detail)
    return str(detail)


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _safe_name(name: str) -> str:
    """Return a file name without folders or odd characters, whatever the server proposed."""
    return re.sub(r"[^\w.-]+", "_", re.split(r"[/\\]", name)[-1]).lstrip(".") or "download"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
