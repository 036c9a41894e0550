"""Checksums that a client compares with a scan."""

from __future__ import annotations

import hashlib

import pytest

from monailabel_app.intake.checksum import is_checksum_of
from Testing.Python.monailabel_app.intake.files import VOXELS, mha, write
from uncertaintyseg.errors import InputError


@pytest.mark.parametrize("algorithm", ["md5", "sha512"])
def test_another_digest_is_that_of_the_one_file_of_a_scan(tmp_path, algorithm):
    path = write(tmp_path, "scan.mha", mha())
    digest = hashlib.new(algorithm, mha()).hexdigest()
    assert is_checksum_of(f"{algorithm}:{digest}", path, {})
    assert not is_checksum_of(f"{algorithm}:{digest[::-1]}", path, {})


@pytest.mark.parametrize("algorithm", ["MD5", "SHA512"])
def test_a_scan_of_several_files_has_no_other_digest(tmp_path, algorithm):
    write(tmp_path, "scan.raw", VOXELS)
    header = write(tmp_path, "scan.mhd", mha(b"", ElementDataFile="scan.raw"))
    for path in (header, tmp_path):
        with pytest.raises(InputError, match=f"several files, which have no {algorithm}"):
            is_checksum_of(f"{algorithm}:00", path, {})
