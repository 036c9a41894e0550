"""Why a server cannot be talked to, and what a person can do about it, in a sentence that says where."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from urllib.parse import urlsplit

from UncertaintySegLib.errors import ServerError

ADDRESS, TOKEN = "address", "token"
"""What a person has to look at."""

_PROBE_SECONDS = 2.0
_SELF_SIGNED, _EXPIRED, _OTHER_NAME = (18, 19), (9, 10), (62, 63, 64)  # of OpenSSL's X509_V_ERR
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)
_OTHER_HOST = "host header"


def no_answer(url: str, error: Exception) -> ServerError | None:
    """Return what to say where nothing at an address answers as it should; None for what may be better next time."""
    host = urlsplit(url).hostname
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerError(_certificate(url, error), field=ADDRESS)
    if isinstance(error, ssl.SSLError) and _is_plain(error):
        plain = url.replace("https://", "http://", 1)
        return ServerError(f"{url} speaks http and not https: write {plain}.", field=ADDRESS)
    if isinstance(error, socket.gaierror):
        return ServerError(
            f"No computer is called {host}: look for a typing error, or switch on the network or VPN that knows it.",
            field=ADDRESS,
        )
    if isinstance(error, ConnectionRefusedError):
        return ServerError(
            f"No MONAI Label server answers at {url}: start one with `uncertaintyseg serve --studies DIR`, or check "
            "the port, for nothing listens at this one.",
            field=ADDRESS,
        )
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return ServerError(
            f"{host} cannot be reached from this computer: check the address, and the network or VPN.", field=ADDRESS
        )
    return None


def speaks_tls(url: str) -> bool:
    """Whether what listens at a plain http address would rather have https."""
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), _PROBE_SECONDS) as plain:
            plain.settimeout(_PROBE_SECONDS)
            with context.wrap_socket(plain, server_hostname=parts.hostname):
                return True
    except (OSError, ValueError):
        return False


def of_first_contact(url: str, error: ServerError) -> ServerError:
    """Return what to say where `/info/` of an address, which every MONAI Label server has, was not answered."""
    if error.field:
        return error
    if url.startswith("http://") and error.status in (None, 400) and speaks_tls(url):
        secure = url.replace("http://", "https://", 1)
        return ServerError(f"{url} speaks https and not http: write {secure}.", error.status, ADDRESS)
    if error.status is not None and _OTHER_HOST in str(error).lower():
        host = urlsplit(url).hostname
        text = (
            f"The server at {url} does not go by the name {host}: use the name that it was started for, or ask whoever "
            f"runs it to start it with --allowed-host {host}."
        )
        return ServerError(text, error.status, ADDRESS)
    if error.status in (400, 404, 405, 501):
        return not_ours(url, error.status)
    return ServerError(str(error), error.status, ADDRESS if error.status is None else "")


def not_ours(url: str, status: int | None = None) -> ServerError:
    """Return what to say of an address where another kind of server is."""
    text = f"{url} does not answer like a MONAI Label server: is the address right? Another program may have this port."
    return ServerError(text, status, ADDRESS)


def unauthorized(url: str, detail: str, *, sent: bool) -> ServerError:
    """Return what to say where a server does not know who asks; `sent` says whether a token went with it."""
    if sent:
        text = (
            f"{url} asks for a valid access token ({detail}). Yours is mistyped, has expired or was removed: copy it "
            "again, or ask whoever runs the server for a new one."
        )
    else:
        text = (
            f"{url} asks for a valid access token ({detail}), and there is none in the field Token: whoever runs the "
            "server makes you one with `uncertaintyseg token NAME`."
        )
    return ServerError(text, 401, TOKEN)


def _is_plain(error: ssl.SSLError) -> bool:
    reason = str(error.reason or error).upper().replace(" ", "_")
    return any(part in reason for part in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER"))


def _certificate(url: str, error: ssl.SSLCertVerificationError) -> str:
    code, host = error.verify_code, urlsplit(url).hostname
    if code in _EXPIRED:
        return f"The certificate of {url} has expired or is not valid yet: ask whoever runs the server for a new one."
    if code in _OTHER_NAME:
        return f"The certificate of {url} is for another name than {host}: write the address with the name it is for."
    file = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or ""
    where = f" or add it to the certificates that Slicer trusts ({file})" if file else ""
    kind = "is self-signed" if code in _SELF_SIGNED else "was made by nobody that this computer trusts"
    return (
        f"The certificate of {url} {kind}, so nobody knows who answers: ask whoever runs the server for one that is "
        f"trusted{where}."
    )
