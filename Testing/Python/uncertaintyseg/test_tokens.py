"""The token file: made for its owner only, and read strictly."""

from __future__ import annotations

import hashlib
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.errors import InputError
from uncertaintyseg.tokens import Identity, Role, TokenBook, add_token, read_tokens

posix = pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens"


def test_a_token_is_long_and_only_its_hash_is_kept(file):
    token = add_token(file, "anna", Role.annotator)
    assert len(token) >= 43  # 256 bits in base64
    assert file.read_text(encoding="utf-8") == f"anna annotator {hashlib.sha256(token.encode()).hexdigest()}\n"
    assert TokenBook(file).find(token) == Identity("anna", Role.annotator)


@posix
def test_the_file_is_its_owners_alone_and_refused_otherwise(file):
    add_token(file, "anna", Role.annotator)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        read_tokens(file)
    with pytest.raises(InputError, match="chmod 600"):
        add_token(file, "bo", Role.viewer)


def test_several_people_and_several_tokens_of_one(file):
    tokens = [
        add_token(file, name, role) for name, role in [("anna", Role.viewer), ("bo", Role.admin), ("bo", Role.admin)]
    ]
    book = TokenBook(file)
    assert [book.find(token).name for token in tokens] == ["anna", "bo", "bo"]
    assert len(set(tokens)) == 3


def test_a_token_made_or_withdrawn_while_the_server_runs_counts_at_once(file):
    first = add_token(file, "anna", Role.viewer)
    book = TokenBook(file)
    assert book.find(first)
    second = add_token(file, "bo", Role.viewer)
    assert book.find(second)
    time.sleep(0.01)
    file.write_text("\n".join(line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("bo")))
    assert book.find(first) is None
    assert book.find(second)
    third = add_token(file, "cy", Role.viewer)  # after a last line without its end
    assert book.find(second)
    assert book.find(third)


def test_nobody_gets_in_while_the_file_is_gone(file):
    token = add_token(file, "anna", Role.viewer)
    book = TokenBook(file)
    assert book.find(token)
    file.unlink()
    with pytest.raises(InputError, match="uncertaintyseg token"):
        book.find(token)


def test_hashes_may_come_from_the_environment(file):
    token = add_token(file, "anna", Role.viewer)
    assert TokenBook(None, file.read_text(encoding="utf-8")).find(token) == Identity("anna", Role.viewer)


@given(st.text())
def test_no_text_is_a_token_by_chance(text):
    assert TokenBook(None, f"anna admin {'0' * 64}\n").find(text) is None


@pytest.mark.parametrize(
    "line", ["anna", "anna admin", f"anna king {'0' * 64}", "anna admin secret", f"anna admin {'0' * 64} more"]
)
def test_a_line_that_is_none_is_named_without_showing_it(file, line):
    file.write_text(f"# people\n\n{line}\n")
    file.chmod(0o600)
    with pytest.raises(InputError, match="line 3") as caught:
        read_tokens(file)
    assert "secret" not in str(caught.value)
    assert "0000" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a\nb admin", "../x", "x" * 65, "#"])
def test_a_name_cannot_break_the_file(file, name):
    with pytest.raises(InputError, match="name"):
        add_token(file, name, Role.viewer)
    assert not file.exists()
