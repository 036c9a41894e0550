"""What other programs read follows the records, line by line, and never holds up what people do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from monailabel.datastore.local import LocalDatastore

from monailabel_app.store.exports import RECORDS, Exports
from monailabel_app.store.records import FILE, Records
from Testing.Python.monailabel_app.store.conftest import voxels
from Testing.Python.servers import poll


@pytest.fixture
def records(tmp_path):
    found = Records(tmp_path / FILE)
    yield found
    found.close()


@pytest.fixture
def exports(records, tmp_path):
    found = Exports(records, tmp_path, tmp_path / "audit")
    yield found
    found.close()


def note(records: Records, *numbers: int, day: str = "2026-05-01") -> None:
    with records.transaction():
        for number in numbers:
            records.append_audit({"time": f"{day}T10:00:00.000+00:00", "number": number})


def lines(folder: Path) -> list[int]:
    return [json.loads(line)["number"] for path in sorted(folder.iterdir()) for line in path.read_bytes().splitlines()]


def test_changes_are_exported_soon_and_by_themselves(records, exports, tmp_path):
    with records.transaction():
        records.put_image("a", "a.nii.gz", {"ward": 3})
    note(records, 1)
    poll(lambda: (tmp_path / RECORDS).is_file() and (tmp_path / "audit").is_dir(), seconds=10)
    assert json.loads((tmp_path / RECORDS).read_text(encoding="utf-8"))["objects"]["a"]["image"]["info"]["ward"] == 3


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_only_the_servers_user_may_read_the_audit_trail(records, exports, tmp_path):
    note(records, 1)
    exports.write()
    [file] = (tmp_path / "audit").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_each_line_is_exported_once_into_the_file_of_its_day(records, exports, tmp_path):
    note(records, *range(2500))
    note(records, 2500, day="2026-05-02")
    exports.write()
    exports.write()
    assert len(list((tmp_path / "audit").iterdir())) == 2
    assert lines(tmp_path / "audit") == list(range(2501))


def test_a_line_cut_short_costs_no_other(records, exports, tmp_path):
    note(records, 1)
    exports.write()
    [file] = (tmp_path / "audit").iterdir()
    with file.open("ab") as stream:
        stream.write(b'{"time": "2026-05-01", "ev')
    note(records, 2)
    exports.write()
    whole = [line for line in file.read_bytes().splitlines() if line.endswith(b"}")]
    assert [json.loads(line)["number"] for line in whole] == [1, 2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_delays_the_export_and_nothing_else(records, exports, tmp_path):
    (tmp_path / "audit").mkdir()
    file = tmp_path / "audit" / "audit-2026-05-01.jsonl"
    file.symlink_to("/dev/full")
    note(records, 1)
    exports.write()
    assert records.last_audit(1)[0]["number"] == 1
    file.unlink()
    exports.write()
    assert lines(tmp_path / "audit") == [1]


def test_monai_labels_own_datastore_opens_what_was_exported(datastore, studies):
    datastore.close()
    stock = LocalDatastore(str(studies), extensions=["*.nii.gz"])
    assert stock.get_image_info("a")["ward"] == 3
    assert stock.get_label_info("a", "final")["author"] == "me"
    assert voxels(stock.get_label_uri("a", "final")) == {1}
    assert stock.status()["label_tags"] == {"final": 1}
