"""Promise 1: beyond this machine the server starts with tokens and TLS only."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from monailabel_app.access import TOKENS_VARIABLE, Access, check_access, check_audit, in_words, warnings
from Testing.Python.monailabel_app.guarded import write_certificate
from uncertaintyseg.errors import InputError
from uncertaintyseg.tokens import Role, add_token

BEYOND = ["0.0.0.0", "::", "192.0.2.1", "example.org", "10.0.0.1"]


@pytest.fixture
def tokens(tmp_path) -> Path:
    add_token(tmp_path / "tokens", "anna", Role.annotator)
    return tmp_path / "tokens"


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_promise_1_loopback_needs_neither_token_nor_tls(host):
    check_access(host, Access(), None, None)


@pytest.mark.parametrize("host", BEYOND)
def test_promise_1_no_start_beyond_loopback_without_a_token(host, pair):
    with pytest.raises(InputError, match="must log in") as caught:
        check_access(host, Access(allowed_hosts=("x",)), *pair)
    assert "uncertaintyseg token" in str(caught.value)


@pytest.mark.parametrize("host", BEYOND)
def test_promise_1_no_start_beyond_loopback_without_tls(host, tokens, pair):
    access = Access(token_file=tokens, allowed_hosts=("seg.example.org",))
    with pytest.raises(InputError, match="in the clear"):
        check_access(host, access, None, None)
    check_access(host, access, *pair)
    check_access(host, Access(token_file=tokens, allowed_hosts=("seg.example.org",), behind_proxy=True), None, None)


def test_an_address_that_stands_for_all_needs_the_name_that_clients_use(tokens, pair):
    with pytest.raises(InputError, match="--allowed-host"):
        check_access("0.0.0.0", Access(token_file=tokens), *pair)


def test_a_proxy_without_tokens_would_let_everyone_in(monkeypatch):
    with pytest.raises(InputError, match="--token-file"):
        check_access("127.0.0.1", Access(behind_proxy=True), None, None)


def test_a_token_file_without_tokens_is_refused(tmp_path):
    empty = tmp_path / "tokens"
    empty.touch(mode=0o600)
    with pytest.raises(InputError, match="no token in it"):
        check_access("127.0.0.1", Access(token_file=empty), None, None)
    with pytest.raises(InputError, match="cannot be read"):
        check_access("127.0.0.1", Access(token_file=tmp_path / "none"), None, None)


def test_tokens_may_come_from_the_environment_as_hashes(tokens, pair, monkeypatch):
    monkeypatch.setenv(TOKENS_VARIABLE, tokens.read_text(encoding="utf-8"))
    check_access("192.0.2.1", Access(), *pair)
    assert Access().needs_login
    assert in_words(Access())[0] == "for 1 tokens: anna (annotator)"


def test_certificate_and_key_are_tried_before_the_start(pair, tmp_path):
    certificate, key = pair
    other = tmp_path / "other.pem"
    other.write_text("no key")
    other.chmod(0o600)
    for broken in [(certificate, None), (None, key), (certificate, other), (tmp_path / "none", key), (key, key)]:
        with pytest.raises(InputError, match="--ssl-certfile"):
            check_access("127.0.0.1", Access(), *broken)
    ssl.create_default_context(cafile=certificate)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_a_key_that_everyone_may_read_is_refused(pair, tmp_path):
    key = tmp_path / "key.pem"
    key.write_bytes(pair[1].read_bytes())
    key.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        check_access("127.0.0.1", Access(), pair[0], key)


def test_options_survive_the_way_through_conf(tokens, tmp_path):
    access = Access(tokens, ("a.example.org", "b"), ("https://ohif.example.org",), True, 12.5, tmp_path / "audit", 2.5)
    conf = access.to_conf()
    assert Access.from_conf(conf) == access
    assert Access.from_conf({}) == Access()
    assert all(isinstance(value, str) for value in conf.values())
    with pytest.raises(InputError, match="max_upload_mb"):
        Access.from_conf({"max_upload_mb": "much"})


def test_an_audit_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--audit"):
        check_audit(tmp_path / "file")


def test_what_is_unsafe_is_said(tokens):
    access = Access(token_file=tokens, behind_proxy=True, allow_origins=("https://ohif.example.org",))
    said = " ".join(warnings("0.0.0.0", access))
    assert "around the proxy" in said
    assert "https://ohif.example.org" in said
    assert not [text for text in warnings("127.0.0.1", Access()) if "root" not in text]
