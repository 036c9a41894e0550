"""A job over many images decodes them when their turn comes, and goes on past one that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.scans_in_turn import ScansInTurn
from monailabel_app.errors import NotFoundError
from monailabel_app.intake.decoded import Decoded
from Testing.Python.uncertaintyseg import flat
from uncertaintyseg.errors import InputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot limit a process")


@pytest.fixture
def datastore(tmp_path):
    studies = tmp_path / "studies"
    for number in range(20):
        flat.write_png(studies / f"p{number:02d}.png", flat.frame(number)[0])
    (studies / "p01.png").write_bytes(b"damaged")
    found = StudyDatastore(str(studies), decoded=Decoded(tmp_path / "kept", 10**9))
    yield found
    found.close()


def decoded(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "kept").glob("*/*.nii.gz"))


def test_nothing_is_decoded_before_the_first_turn_and_then_a_few_at_a_time(datastore, tmp_path):
    scans = ScansInTurn(datastore, datastore.list_images())
    assert decoded(tmp_path) == []
    assert scans.path("p00").name == "p00.nii.gz"
    assert decoded(tmp_path) == [f"p{number:02d}.nii.gz" for number in range(16) if number != 1]
    with pytest.raises(InputError, match=r"p01\.png: not a readable picture"):
        scans.path("p01")
    assert scans.path("p16").name == "p16.nii.gz"
    assert len(decoded(tmp_path)) == 19


def test_who_names_an_image_learns_at_once_what_is_wrong(datastore, tmp_path):
    with pytest.raises(NotFoundError, match="nobody"):
        ScansInTurn(datastore, ["p00", "nobody"])
    with pytest.raises(InputError, match=r"p01\.png"):
        ScansInTurn(datastore, ["p01"], now=True)
    assert decoded(tmp_path) == []
