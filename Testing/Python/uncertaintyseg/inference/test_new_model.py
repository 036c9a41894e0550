"""A model folder appears whole or not at all, and what was there is lost to its successor alone."""

from __future__ import annotations

import shutil

import pytest

from Testing.Python.uncertaintyseg.tiny import write_bundle
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import METADATA
from uncertaintyseg.inference.new_model import write_new_model


@pytest.fixture
def output(tmp_path):
    return tmp_path / "models"


def filled(folder):
    write_bundle(folder.parent, task="filled").rename(folder)


def older(output):
    (output / "gland").mkdir(parents=True)
    (output / "gland" / "thesis.txt").write_text("mine")


def listing(output):
    return sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())


def test_a_model_takes_the_place_of_what_was_there(output):
    older(output)
    bundle = write_new_model(output, "gland", filled)
    assert bundle.folder == (output / "gland").resolve()
    assert (output / "gland" / METADATA).is_file()
    assert not (output / "gland" / "thesis.txt").exists()
    assert [path.name for path in output.iterdir()] == ["gland"]


def broken(folder):
    filled(folder)
    (folder / METADATA).write_text("{")


def full(folder):
    filled(folder)
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("fill", "error"), [(broken, BundleError), (full, InputError)])
def test_what_cannot_be_written_or_read_leaves_no_trace(output, fill, error):
    older(output)
    with pytest.raises(error):
        write_new_model(output, "gland", fill)
    assert listing(output) == ["gland/thesis.txt"]
    assert [path.name for path in output.iterdir()] == ["gland"]


def test_a_name_that_is_taken_meanwhile_is_looked_at_again_at_the_end(output):
    def fill(folder):
        filled(folder)
        older(output)

    def check():
        if (output / "gland").exists():
            raise InputError("taken")

    with pytest.raises(InputError, match="taken"):
        write_new_model(output, "gland", fill, check=check)
    assert listing(output) == ["gland/thesis.txt"]


def test_what_was_there_comes_back_where_its_successor_cannot_be_moved(output):
    older(output)

    def swept_away():
        (scratch,) = output.glob(".new-*")
        shutil.rmtree(scratch / "gland")

    with pytest.raises(InputError, match="cannot be written"):
        write_new_model(output, "gland", filled, check=swept_away)
    assert listing(output) == ["gland/thesis.txt"]
