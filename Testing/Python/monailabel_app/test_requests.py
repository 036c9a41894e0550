"""What results were asked with is remembered, as long as there is room, and believed only when it is whole."""

from __future__ import annotations

import os

import pytest

from monailabel_app.errors import NotFoundError
from monailabel_app.jobs.requests import Asked, Requests

KEYS = [f"{number:064x}" for number in range(40)]
ASKED = Asked(model="m", image="case", params={"seed": 3}, key=KEYS[0])


def test_a_request_outlives_the_server(tmp_path):
    Requests(tmp_path).note(KEYS[0], ASKED)
    requests = Requests(tmp_path)
    assert requests.of(KEYS[0]) == ASKED
    assert requests.image(KEYS[0]) == "case"
    assert requests.of(KEYS[1]) is None
    assert requests.image(KEYS[1]) is None


def test_that_an_image_was_picked_for_its_risk_is_never_forgotten(tmp_path):
    requests = Requests(tmp_path)
    requests.note(KEYS[0], ASKED)
    assert not requests.was_picked(KEYS[0])
    requests.note(KEYS[0], ASKED.model_copy(update={"picked": True}))
    requests.note(KEYS[0], ASKED)
    assert requests.was_picked(KEYS[0])


@pytest.mark.parametrize("data", [b"", b"{}", bytes(200)])
def test_a_damaged_request_is_none(tmp_path, data):
    requests = Requests(tmp_path)
    requests.note(KEYS[0], ASKED)
    (tmp_path / f"{KEYS[0]}.json").write_bytes(data)
    assert requests.of(KEYS[0]) is None
    requests.note(KEYS[0], ASKED)
    assert requests.of(KEYS[0]) == ASKED


def test_the_oldest_make_room(tmp_path):
    requests = Requests(tmp_path, limit_bytes=4000)
    for age, key in enumerate(KEYS):
        requests.note(key, ASKED.model_copy(update={"key": key}))
        os.utime(tmp_path / f"{key}.json", (age, age))
    kept = [key for key in KEYS if requests.of(key)]
    assert kept == KEYS[-len(kept) :]
    assert 3000 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000


def test_a_full_disk_costs_no_result(tmp_path, monkeypatch, caplog):
    requests = Requests(tmp_path)
    monkeypatch.setattr("os.replace", fail)
    requests.note(KEYS[0], ASKED)
    assert requests.of(KEYS[0]) is None
    assert "could not be kept" in caplog.text


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_what_is_no_key_names_no_file(tmp_path):
    with pytest.raises(NotFoundError, match="64 hexadecimal digits"):
        Requests(tmp_path).of("../studies")
