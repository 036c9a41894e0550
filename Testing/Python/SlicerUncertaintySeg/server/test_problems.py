"""What is said of a server that cannot be talked to: what is wrong, where to look and what to do."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.client import Client

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a server")])


def write_certificate(file: Path, host: str, days: int) -> None:
    """A self-signed certificate that ends in so many days, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(NAME).issuer_name(NAME).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30)).not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *plain)
    )


@contextmanager
def tls_server(certificate: Path) -> Iterator[int]:
    """A server that speaks https; yields its port."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_):
            """Clients that do not trust it hang up."""

    server = Quiet(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def said(url: str, token: str = "") -> tuple[str, str]:
    """What connecting ends with, and the field it is about."""
    with pytest.raises(ServerError) as caught:
        Client(url, token or None, timeout=20).info_json()
    return str(caught.value), caught.value.field


@pytest.mark.parametrize(
    ("host", "days", "trusted", "expected"),
    [
        ("localhost", 30, False, "is self-signed, so nobody knows who answers: ask whoever runs the server"),
        ("localhost", -1, True, "has expired or is not valid yet: ask whoever runs the server for a new one."),
        ("seg.example.org", 30, True, "is for another name than localhost: write the address with the name it is for."),
    ],
)
def test_a_certificate_that_does_not_hold_says_why_and_whom_to_ask(
    tmp_path, monkeypatch, host, days, trusted, expected
):
    write_certificate(tmp_path / "own.pem", host, days)
    write_certificate(tmp_path / "other.pem", "elsewhere", 30)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / ("own.pem" if trusted else "other.pem")))
    with tls_server(tmp_path / "own.pem") as port:
        text, field = said(f"https://localhost:{port}", token="s3cret")
    assert f"The certificate of https://localhost:{port} {expected}" in text
    assert field == "address"


def test_http_in_place_of_https_and_the_other_way_round_are_told_apart(tmp_path, wire_server):
    write_certificate(tmp_path / "own.pem", "localhost", 30)
    with tls_server(tmp_path / "own.pem") as port:
        url = f"http://localhost:{port}"
        assert said(url) == (f"{url} speaks https and not http: write https://localhost:{port}.", "address")
    url = wire_server.url.replace("http://", "https://")
    assert said(url) == (f"{url} speaks http and not https: write {wire_server.url}.", "address")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9", "or check the port, for nothing listens at this one."),
        ("http://no-such-host.invalid:8000", "No computer is called no-such-host.invalid: look for a typing error"),
        ("ftp://server", "should look like http://127.0.0.1:8000."),
        ("http://127.0.0.1:port", "has no valid port"),
    ],
)
def test_an_address_where_nobody_is_says_what_to_check(url, expected):
    text, field = said(url)
    assert expected in text
    assert field == "address"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"<html>hello</html>", "does not answer like a MONAI Label server"),
        (200, b"[1, 2]", "does not answer like a MONAI Label server"),
        (404, b"<html>no such page</html>", "Another program may have this port."),
        (404, b'{"detail": "Not Found"}', "Another program may have this port."),
        (
            403,
            b'{"detail": "the Host header names another server: use a loopback address"}',
            "does not go by the name 127.0.0.1: use the name that it was started for",
        ),
    ],
)
def test_another_program_at_the_address_is_recognised(wire_server, status, body, expected):
    wire_server.refusals["/info/"] = (status, body)
    text, field = said(wire_server.url)
    assert expected in text
    assert field == "address"


def test_no_token_and_a_wrong_token_are_told_apart(wire_server):
    wire_server.refusals["/info/"] = (401, b'{"detail": "no such token: log in"}')
    text, field = said(wire_server.url)
    assert "there is none in the field Token" in text
    assert "uncertaintyseg token NAME" in text
    assert field == "token"
    text, field = said(wire_server.url, token="wrong")
    assert "(no such token: log in). Yours is mistyped, has expired or was removed: copy it again" in text
    assert field == "token"


def test_a_server_that_fails_or_forbids_is_no_matter_of_address_or_token(wire_server):
    wire_server.refusals["/info/"] = (503, b'{"detail": "starting"}')
    assert said(wire_server.url)[1] == ""
    wire_server.refusals["/info/"] = (403, b'{"detail": "too many attempts: wait a minute"}')
    assert said(wire_server.url) == ("too many attempts: wait a minute", "")
