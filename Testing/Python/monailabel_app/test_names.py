"""Names of scans, tags and uploads: whatever is safe as a file name on every system."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monailabel_app.intake.received import client_name
from monailabel_app.names import checked_name
from uncertaintyseg.errors import InputError


@pytest.mark.parametrize("name", [
    "a", "case_1", "0", "scan (1)", "Knie links, 2.Aufnahme", "Müller", "Mu\u0308ller", "脳", "a&b", "50% #2", "1.2.3",
    "it's", "a[1]{b}", "x=1;y", "a@b!", "a" * 128, "_a", "console", "com10", "a+b-c.d", "a~1",
])  # fmt: skip
def test_what_people_call_files_is_taken_everywhere(name, tmp_path):
    assert checked_name("an id", name) == name
    assert client_name(f"{name}.nii.gz") == f"{name}.nii.gz"
    (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.nii.gz"]


@pytest.mark.parametrize("name", [
    "", " a", "a ", ".", "..", ".a", "a.", "-a", "a/b", "a\\b", "a\nb", "a\rb", "a\tb", "a\0b", "a\x7fb", "a\u2028b",
    "a:b", "a*", "a?", 'a"b', "a<b", "a>b", "a|b", "a\u202eb", "a\ud800", "con", "NUL.nii", "Lpt1", "a" * 129,
    "脳" * 70, "(a)", "$a", "@a", "%a", "~a", "\ufeffa", "a\u00a0", "\u0308a",
])  # fmt: skip
def test_what_is_not_safe_somewhere_is_refused_and_shown(name):
    with pytest.raises(InputError, match="cannot be used as an id") as caught:
        checked_name("an id", name)
    assert str(caught.value).isprintable()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=140))
def test_any_text_is_a_safe_name_or_refused(text):
    try:
        name = checked_name("an id", text)
    except InputError:
        return
    assert name == text
    assert name.isprintable()
    assert not set(name) & set('/\\:*?"<>|')
    assert len(name.encode()) <= 200
    assert name[0] not in ".-"
