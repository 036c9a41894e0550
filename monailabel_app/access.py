"""Who may reach the server, and how: options of the command line, as they travel in MONAI Label's `--conf`."""

from __future__ import annotations

import math
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from monailabel_app.preflight import ANY_ADDRESS, is_loopback
from uncertaintyseg.errors import InputError
from uncertaintyseg.tokens import TokenBook

TOKENS_VARIABLE = "UNCERTAINTYSEG_TOKENS"
"""Environment variable with lines of a token file; hashes only, so it holds no secret."""


def _audit_folder() -> Path:
    return platformdirs.user_state_path("uncertaintyseg") / "audit"


@dataclass(frozen=True)
class Access:
    """What the server's guards need to know.

    Attributes:
        token_file: Tokens that are accepted; without any only this machine is served, and without log-in.
        allowed_hosts: Names and addresses by which clients reach the server, beside the loopback ones.
        allow_origins: Other web pages that may use it, such as an OHIF viewer's `https://viewer.example.org`.
        behind_proxy: A proxy in front ends TLS.
        max_upload_mb: Largest body of a request, in MB (1e6 bytes).
        audit: Folder of the audit log.
        patience: Seconds that a client may take to send a header, or pause in sending a body or taking an answer.
    """

    token_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    behind_proxy: bool = False
    max_upload_mb: float = 1024.0
    audit: Path = field(default_factory=_audit_folder)
    patience: float = 30.0

    @classmethod
    def from_conf(cls, conf: Mapping[str, str]) -> Access:
        """Read what `to_conf` or the user of the stock command wrote. Raises `InputError` naming a wrong value."""
        return cls(
            token_file=Path(conf["token_file"]) if conf.get("token_file") else None,
            allowed_hosts=_words(conf.get("allowed_hosts", "")),
            allow_origins=_words(conf.get("allow_origins", "")),
            behind_proxy=conf.get("behind_proxy", "").lower() in ("1", "true", "yes"),
            max_upload_mb=number_in(conf, "max_upload_mb", cls.max_upload_mb, low=0.001, high=1e6),
            patience=number_in(conf, "patience", cls.patience, low=0.1, high=3600),
            audit=Path(conf["audit"]) if conf.get("audit") else _audit_folder(),
        )

    def to_conf(self) -> dict[str, str]:
        """Return the options as `--conf` pairs; they hold paths and names, never a token."""
        return {
            "token_file": str(self.token_file.resolve()) if self.token_file else "",
            "allowed_hosts": ",".join(self.allowed_hosts),
            "allow_origins": ",".join(self.allow_origins),
            "behind_proxy": "true" if self.behind_proxy else "",
            "max_upload_mb": str(self.max_upload_mb),
            "patience": str(self.patience),
            "audit": str(self.audit.resolve()),
        }

    @property
    def needs_login(self) -> bool:
        """Whether tokens were given. It stays so when the last one is withdrawn."""
        return self.token_file is not None or bool(os.environ.get(TOKENS_VARIABLE))

    def tokens(self) -> TokenBook:
        """Return the tokens of the file and of the environment."""
        return TokenBook(self.token_file, os.environ.get(TOKENS_VARIABLE, ""))


def check_access(host: str, access: Access, certfile: Path | None, keyfile: Path | None) -> None:
    """Raise `InputError` where these options together would serve strangers, or nobody."""
    named = bool(access.tokens().entries())
    encrypted = _check_tls(certfile, keyfile) or access.behind_proxy
    if access.needs_login and not named:
        where = f"--token-file {access.token_file}" if access.token_file else TOKENS_VARIABLE
        raise InputError(f"{where}: no token in it. Make one with `uncertaintyseg token NAME --token-file FILE`")
    if access.behind_proxy and not named:
        raise InputError("--behind-proxy: a proxy passes on requests of others, so give --token-file FILE as well")
    if is_loopback(host):
        return
    if not named:
        raise InputError(
            f"--host {host}: reaches beyond this machine, so people must log in. Make tokens with `uncertaintyseg "
            "token NAME --token-file FILE` and give --token-file FILE; or keep to loopback with an SSH tunnel: "
            "ssh -L 8000:127.0.0.1:8000 USER@SERVER"
        )
    if not encrypted:
        raise InputError(
            f"--host {host}: tokens and scans would cross the network in the clear. Give --ssl-certfile and "
            "--ssl-keyfile, or --behind-proxy where a proxy in front ends TLS"
        )
    if host in ANY_ADDRESS and not access.allowed_hosts:
        raise InputError(f"--host {host}: name the address that clients use, as --allowed-host server.example.org")


def check_audit(folder: Path) -> None:
    """Raise `InputError` unless the audit log can be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--audit {folder}: not writable ({error.strerror}). Give a folder of your own") from error


def in_words(access: Access) -> list[str]:
    """Return who may use the server and where it is noted, for the start."""
    if not access.needs_login:
        return ["for clients on this machine only, without log-in", f"audit log in {access.audit}"]
    people = sorted(f"{who.name} ({who.role.name})" for who in access.tokens().entries().values())
    return [f"for {len(people)} tokens: {', '.join(people)}", f"audit log in {access.audit}"]


def warnings(host: str, access: Access) -> list[str]:
    """Return what the options allow and an engineer should know."""
    found = []
    if access.behind_proxy and not is_loopback(host):
        found.append(f"whoever reaches {host} around the proxy talks in the clear: let a firewall see to it")
    if os.name == "posix" and os.geteuid() == 0:
        found.append("the server runs as root: give it a user of its own (docs/deployment.md)")
    if access.allow_origins:
        found.append(f"web pages of {', '.join(access.allow_origins)} may use the server with a token typed into them")
    return found


def _check_tls(certfile: Path | None, keyfile: Path | None) -> bool:
    if certfile is None and keyfile is None:
        return False
    if certfile is None or keyfile is None:
        raise InputError("--ssl-certfile and --ssl-keyfile belong together: give both")
    if os.name == "posix" and keyfile.is_file() and keyfile.stat().st_mode & 0o007:
        raise InputError(f"--ssl-keyfile {keyfile}: everyone on this machine may read it. Run: chmod 600 {keyfile}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"--ssl-certfile {certfile}, --ssl-keyfile {keyfile}: not a usable pair ({error})") from error
    return True


def _no_password() -> str:
    raise ssl.SSLError("the key asks for a password: store it without one, readable by the server's user only")


def number_in(conf: Mapping[str, str], name: str, default: float, *, low: float, high: float) -> float:
    """Return a number of `--conf`. Raises `InputError` naming it where it is none, or out of its range."""
    try:
        value = float(conf.get(name) or default)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(f"--conf {name} {conf[name]}: give a number from {low:g} to {high:g}")
    return value


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
