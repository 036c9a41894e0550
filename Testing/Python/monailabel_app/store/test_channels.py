"""Which files of a studies folder are channels of one scan, and which are scans that somebody has numbered."""

from __future__ import annotations

from monailabel_app.store.catalogue import find_scans
from monailabel_app.store.channels import cases_of


def write(folder, *names: str) -> None:
    for name in names:
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not empty")


def ids(folder, *about) -> dict[str, str]:
    return {i: path.name for i, path in find_scans(folder, *about).scans.items()}


def test_files_are_one_case_where_a_model_takes_so_many_channels(tmp_path):
    write(tmp_path, "a_0000", "a_0001", "ward/b_0000", "ward/b_0001", "c")
    assert ids(tmp_path, {2}) == {"a": "a_0000.nii.gz", "c": "c.nii.gz", "ward__b": "b_0000.nii.gz"}
    assert not find_scans(tmp_path, {2}).skipped


def test_numbered_scans_stay_scans(tmp_path):
    write(tmp_path, *(f"scan_{number:04d}" for number in range(3)))
    apart = {f"scan_{number:04d}" for number in range(3)}
    assert set(ids(tmp_path)) == apart  # no model takes several channels
    assert set(ids(tmp_path, {2})) == apart  # none takes so many
    assert set(ids(tmp_path, {3}, {"scan_0001"})) == apart  # one has a label of its own
    assert set(ids(tmp_path, {3})) == {"scan"}


def test_a_gap_or_a_scan_of_that_name_leaves_files_by_themselves(tmp_path):
    write(tmp_path, "a_0000", "a_0002", "b_0000", "b_0001", "b")
    assert set(ids(tmp_path, {2})) == {"a_0000", "a_0002", "b_0000", "b_0001", "b"}


def test_a_case_stays_one_whatever_models_come_and_go(tmp_path):
    write(tmp_path, "a_0000", "a_0001")
    assert cases_of({"a": ("a_0000.nii.gz", {}), "b_0000": ("b_0000.nii", {}), "w__c": ("w/c_0000.nii", {})}) == {
        "a",
        "w__c",
    }
    assert set(ids(tmp_path, (), {"a"}, {"a"})) == {"a"}
