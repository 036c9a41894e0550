"""Published weights: whole or not at all, and every older version can come back."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from Testing.Python.uncertaintyseg.tiny import give_random_weights, write_bundle
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import Bundle, find_bundles
from uncertaintyseg.training import versions
from uncertaintyseg.training.versions import bundle_with, list_versions, publish, restore
from uncertaintyseg.wire import ModelVersion

RECORD = ModelVersion(scope="head", training_cases=3, validation_cases=1, after={"dice": 0.9, "nll": 0.1})


@pytest.fixture
def shipped(tmp_path) -> Bundle:
    """A model where nothing is published."""
    return give_random_weights(write_bundle(tmp_path / "shipped"), seed=0)


@pytest.fixture
def candidate(tmp_path) -> Callable[[int], Bundle]:
    return lambda seed: give_random_weights(write_bundle(tmp_path / f"candidate_{seed}"), seed)


@pytest.fixture
def models(tmp_path) -> Path:
    return tmp_path / "models"


def checksums(models: Path) -> list[str]:
    """Of the models that a server would find."""
    return [bundle.checksum for name, bundle in find_bundles(models).items() if name.startswith("tiny")]


def test_new_weights_are_in_use_and_those_they_replace_are_kept(shipped, candidate, models):
    first, second = candidate(1), candidate(2)
    assert publish(first, models, RECORD, replaces=shipped).checksum == first.checksum
    published = publish(second, models, RECORD, replaces=Bundle.load(models / shipped.name))
    assert published.checksum == second.checksum
    assert published.folder == (models / shipped.name).resolve()
    kept = list_versions(published)
    assert [(v.number, v.checksum, v.origin) for v in kept] == [
        (1, shipped.checksum, "before training"), (2, first.checksum, "trained"), (3, second.checksum, "trained"),
    ]  # fmt: skip
    assert kept[2].training_cases == 3
    assert kept[2].created
    assert checksums(models) == [second.checksum]
    assert shipped.weights.is_file()


def test_an_older_version_comes_back_bit_for_bit(shipped, candidate, models):
    published = publish(candidate(1), models, RECORD, replaces=shipped)
    restored = restore(published, 1)
    assert restored.weights.read_bytes() == shipped.weights.read_bytes()
    assert restore(restored, 2).checksum == published.checksum
    assert len(list_versions(restored)) == 2


def test_the_same_weights_are_one_version(shipped, candidate, models):
    published = publish(candidate(1), models, RECORD, replaces=shipped)
    publish(candidate(1), models, RECORD, replaces=published)
    assert len(list_versions(published)) == 2


@pytest.mark.parametrize("name", ["calibration.json", "label_shift.json"])
def test_what_belongs_to_weights_goes_and_comes_with_them(shipped, candidate, models, name):
    (shipped.folder / name).write_text("old")
    published = publish(candidate(1), models, RECORD, replaces=shipped)
    in_use = published.folder / name
    assert not in_use.exists()
    in_use.write_text("new")
    restore(published, 1)
    assert in_use.read_text(encoding="utf-8") == "old"
    restore(published, 2)
    assert in_use.read_text(encoding="utf-8") == "new"


def test_weights_of_any_version_can_be_loaded_by_their_checksum(shipped, candidate, models):
    published = publish(candidate(1), models, RECORD, replaces=shipped)
    for checksum in (shipped.checksum, published.checksum):
        bundle = bundle_with(published.folder, checksum)
        assert (bundle.name, bundle.checksum) == (shipped.name, checksum)
        bundle.network()
    with pytest.raises(BundleError, match="replaced meanwhile"):
        bundle_with(published.folder, "0" * 64)


@pytest.mark.parametrize("first", [True, False], ids=["first publication", "later publication"])
@pytest.mark.parametrize("killed_at", range(12))
def test_a_kill_at_any_step_leaves_the_old_weights_or_the_new(
    shipped, candidate, models, monkeypatch, first, killed_at
):
    old = shipped if first else publish(candidate(1), models, RECORD, replaces=shipped)
    before, new, left = old.checksum, candidate(2), [killed_at]

    def dying(function):
        def call(*args, **kwargs):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", dying(shutil.copytree))
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(versions, "write_bytes", dying(versions.write_bytes))
        with contextlib.suppress(KeyboardInterrupt):
            publish(new, models, RECORD, replaces=old)
    found = checksums(models) or [shipped.checksum]  # nothing there yet: the shipped one is still in use
    assert len(found) == 1
    assert found[0] in {before, new.checksum}
    published = publish(new, models, RECORD, replaces=old)  # and the next one is not disturbed
    assert checksums(models) == [published.checksum] == [new.checksum]
    assert [v.checksum for v in list_versions(published)][-2:] == [before, new.checksum]


def test_an_unknown_version_is_refused_with_those_there_are(shipped, candidate, models):
    with pytest.raises(InputError, match="never trained"):
        restore(shipped, 1)
    published = publish(candidate(1), models, RECORD, replaces=shipped)
    with pytest.raises(InputError, match="no version 7; there are 1, 2"):
        restore(published, 7)


def test_a_folder_that_cannot_be_written_changes_nothing(shipped, candidate, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="nothing was published"):
        publish(candidate(1), tmp_path / "file", RECORD, replaces=shipped)


def test_only_trained_weights_of_the_same_model_replace_it(shipped, tmp_path, models):
    other = give_random_weights(write_bundle(tmp_path / "other", "low_rank"))
    for wrong in (other, Bundle.load(write_bundle(tmp_path / "untrained"))):
        with pytest.raises(BundleError, match="no new weights of tiny_deterministic"):
            publish(wrong, models, RECORD, replaces=shipped)
