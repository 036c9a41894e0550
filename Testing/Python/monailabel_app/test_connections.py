"""Clients that send slowly, or half: they are cut off, and the others are served meanwhile."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from monailabel_app import connections
from monailabel_app.connections import patient
from Testing.Python.servers import poll

PATIENCE = 1.0
LONG = 4.0
"""For clients that are in time, so that a machine that stands still for a moment does not make them late."""
BIG = 20_000_000


async def app(scope, receive, send) -> None:
    """Counts the body; of other paths: answers at once, after a while, or with much."""
    path, size, more = scope["path"], 0, scope["path"] != "/at-once"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
        if path == "/reads-slowly":
            await asyncio.sleep(PATIENCE / 4)
    if path == "/works":
        await asyncio.sleep(3 * PATIENCE)
    body = bytes(BIG) if path == "/much" else str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(patience: float, **options: object) -> Iterator[int]:
    config = uvicorn.Config(
        app, port=0, http=patient(H11Protocol, patience), lifespan="off", log_config=None, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    poll(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(PATIENCE) as port:
        yield port


@pytest.fixture
def connect(port):
    opened: list[socket.socket] = []

    def connect(first: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        opened.append(client)
        client.sendall(first)
        return client

    yield connect
    for client in opened:
        client.close()


def seconds_until_cut(client: socket.socket, drip: bytes = b"") -> float:
    """How long a connection lives while a client sends a piece now and then."""
    started = time.monotonic()
    client.settimeout(PATIENCE / 10)
    while time.monotonic() - started < 20 * PATIENCE:
        try:
            if not client.recv(1):
                break
        except TimeoutError:
            pass
        except ConnectionError:
            break
        try:
            client.sendall(drip)
        except ConnectionError:
            break
    return time.monotonic() - started


LATE = {
    "nothing is sent": (b"", b""),
    "half a header": (b"GET / HTTP/1.1\r\nHost: a\r\n", b""),
    "a header, byte by byte": (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x"),
    "half a body": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc", b""),
    "a body, byte by byte": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "a chunked body, byte by byte": (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "the rest of what is answered": (b"PUT /at-once HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "another half header": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", b"x"),
}


@pytest.mark.parametrize("late", LATE)
def test_a_late_client_is_cut_off_and_others_are_served(connect, port, late):
    first, drip = LATE[late]
    client = connect(first)
    assert httpx.get(f"http://127.0.0.1:{port}/").text == "0"
    assert 0.5 * PATIENCE < seconds_until_cut(client, drip) < 20 * PATIENCE


def test_an_answer_that_nobody_takes_ends(connect):
    client = connect(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(3 * PATIENCE)
    received = 0
    try:
        while piece := client.recv(1 << 16):
            received += len(piece)
    except ConnectionError:
        pass
    assert received < BIG


def test_a_header_is_cut_off_where_the_protocol_itself_has_no_limit():
    with serving(60, h11_max_incomplete_event_size=2**30) as port:
        url = f"http://127.0.0.1:{port}/"
        for size in (0, 1000, 60_000):
            assert httpx.get(url, headers={"X": "x" * size}).text == "0"
        with httpx.Client() as http:
            for _ in range(3):
                assert http.put(url, content=bytes(300_000)).text == "300000"
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            with pytest.raises(ConnectionError):
                client.sendall(b"x" * 10**8)


def test_a_body_that_comes_steadily_is_taken_however_long_it_takes():
    def pieces():
        for _ in range(10):
            yield bytes(20_000)
            time.sleep(LONG / 8)

    with serving(LONG) as port:
        assert httpx.put(f"http://127.0.0.1:{port}/", content=pieces()).text == "200000"


def test_time_that_the_app_takes_is_not_the_clients(port):
    assert httpx.get(f"http://127.0.0.1:{port}/works").text == "0"
    size = 10 << 16
    assert httpx.put(f"http://127.0.0.1:{port}/reads-slowly", content=bytes(size), timeout=30).text == str(size)


def test_a_connection_is_used_again_within_the_time():
    with serving(LONG) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        for _ in range(10):
            assert http.get("/").text == "0"
            time.sleep(LONG / 8)


def test_of_too_many_connections_the_one_that_waited_longest_is_closed(monkeypatch):
    monkeypatch.setattr(connections, "CONNECTIONS", 20)
    with serving(2 * LONG) as port, ExitStack() as opened:
        idle = []
        for _ in range(20):
            idle.append(opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)))
            time.sleep(0.07)  # the limits of some are looked at while others are not open yet
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "0"
        with suppress(ConnectionResetError):
            assert idle[0].recv(1) == b""
        for client in idle[1:]:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
