"""Who may use a server: named tokens with roles, kept as hashes in a file that only its owner can read."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from uncertaintyseg.errors import InputError

_NAME = re.compile(r"[\w.@-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_OTHERS = 0o077  # permission bits of group and world


class Role(IntEnum):
    """What a person may do; each role may do what those below it may."""

    viewer = 1
    annotator = 2
    reviewer = 3
    trainer = 4
    admin = 5


@dataclass(frozen=True)
class Identity:
    """A person as the token file names them."""

    name: str
    role: Role


class TokenBook:
    """The tokens that a server accepts: lines `NAME ROLE SHA256-OF-TOKEN`, with # for comments.

    A changed file counts from the next request on. While it cannot be read, nobody gets in.

    Args:
        file: Token file.
        lines: More such lines, as from an environment variable; hashes, so they give nothing away.
    """

    def __init__(self, file: Path | None, lines: str = "") -> None:
        self._file = file
        self._given = _parse(lines.splitlines(), "the token lines in the environment")
        self._read: tuple[tuple[int, ...], dict[str, Identity]] = ((), {})

    def entries(self) -> dict[str, Identity]:
        """Return the identities by hash. Raises `InputError` when the file is missing, wrong or open to others."""
        if self._file is None:
            return self._given
        stamp = _stamp(self._file)
        if stamp != self._read[0]:
            self._read = stamp, read_tokens(self._file)
        return {**self._given, **self._read[1]}

    def find(self, token: str) -> Identity | None:
        """Return whose token it is, in a time that does not depend on the token."""
        digest = _hash(token)
        found = None
        for known, identity in self.entries().items():
            if hmac.compare_digest(known, digest):
                found = identity
        return found


def read_tokens(file: Path) -> dict[str, Identity]:
    """Return the identities of a token file by hash.

    Raises:
        InputError: The file cannot be read, others than its owner may, or a line is none of a token.
    """
    if os.name == "posix" and _stamp(file)[0] & _OTHERS:
        raise InputError(f"--token-file {file}: others may read or change it. Run: chmod 600 {file}")
    try:
        return _parse(file.read_text(encoding="utf-8").splitlines(), f"--token-file {file}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token-file {file}: cannot be read ({error})") from error


def add_token(file: Path, name: str, role: Role) -> str:
    """Make a token of 256 random bits, add its hash to the file and return it; it is kept nowhere.

    Raises:
        InputError: The name has odd characters, or the file cannot be written or is open to others.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot be a name in a token file: use up to 64 letters, digits and . _ @ -")
    if file.exists():
        read_tokens(file)
    token = secrets.token_urlsafe(32)
    try:
        handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as stream:
            before = stream.read() or b""
            start = "" if before.endswith(b"\n") or not before else "\n"
            stream.write(f"{start}{name} {role.name} {_hash(token)}\n".encode())
            os.fsync(handle)
    except OSError as error:
        raise InputError(f"--token-file {file}: cannot be written ({error.strerror})") from error
    return token


def _parse(lines: Iterable[str], where: str) -> dict[str, Identity]:
    found = {}
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) != 3 or words[1] not in Role.__members__ or not _DIGEST.fullmatch(words[2]):
            raise InputError(
                f"{where}, line {number}: write NAME ROLE SHA256 with a role of {', '.join(Role.__members__)}; "
                "`uncertaintyseg token NAME --role ROLE` makes such lines"
            )
        found[words[2]] = Identity(words[0], Role[words[1]])
    return found


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        stat = file.stat()
    except OSError as error:
        raise InputError(
            f"--token-file {file}: cannot be read ({error.strerror}). Make it with `uncertaintyseg token NAME "
            f"--role annotator --token-file {file}`"
        ) from error
    return stat.st_mode, stat.st_mtime_ns, stat.st_size, stat.st_ino
