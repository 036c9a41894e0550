from __future__ import annotations

from UncertaintySegLib.logic import downloads


def test_all_but_the_open_case_goes(tmp_path):
    for name in ("results/open/label.nii", "results/open/samples/1.nii", "results/other/label.nii", "scans/a.nii"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(10))
    assert downloads.remove(tmp_path, {"open"}) == 20
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == ["results/open/label.nii", "results/open/samples/1.nii"]
    assert not (tmp_path / "scans").exists()


def test_a_folder_that_is_not_there_has_nothing_to_remove(tmp_path):
    assert downloads.remove(tmp_path / "none") == 0
