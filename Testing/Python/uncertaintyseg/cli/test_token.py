"""`uncertaintyseg token`: the token on stdout once, its hash in the file."""

from __future__ import annotations

from uncertaintyseg.tokens import Identity, Role, TokenBook


def test_the_token_comes_on_stdout_alone_and_lets_its_owner_in(command, tmp_path):
    file = tmp_path / "tokens"
    ended = command("token", "anna", "--role", "trainer", "--token-file", str(file))
    assert ended.code == 0
    [token] = ended.out.split()
    assert TokenBook(file).find(token) == Identity("anna", Role.trainer)
    assert token not in file.read_text(encoding="utf-8")
    assert token not in ended.err


def test_a_role_that_is_none_is_answered_with_those_there_are(command, tmp_path):
    ended = command("token", "anna", "--role", "king", "--token-file", str(tmp_path / "tokens"))
    assert ended.code == 2
    assert "viewer, annotator, reviewer, trainer, admin" in ended.err
    assert not (tmp_path / "tokens").exists()
