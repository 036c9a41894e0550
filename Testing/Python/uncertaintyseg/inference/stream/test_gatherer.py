"""What is kept of chunks: exact where it is kept, the same however planes were bundled, and never classes x voxels."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.stream import CUT, Chunk, Gatherer, Scratch
from uncertaintyseg.inference.thresholding import Threshold, threshold

SHAPE, CLASSES = (7, 10, 6), 5


def probabilities(classes: int = CLASSES) -> torch.Tensor:
    """`[C, *SHAPE]`, most of it background, with structures that fade out below the cut."""
    rng = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(classes, *SHAPE, generator=rng)
    logits[0] += torch.linspace(-4, 40, SHAPE[1])[None, :, None]
    return logits.softmax(0)


def chunks(p: torch.Tensor, axis: int, size: int, maps=None, **more):
    for start in range(0, SHAPE[axis], size):
        box = [slice(0, n) for n in SHAPE]
        box[axis] = slice(start, min(start + size, SHAPE[axis]))
        first = [value[tuple(box)].movedim(axis, 0) for value in (maps or {}).values()]
        part = p[(slice(None), *box)].movedim(axis + 1, 1)
        own = dict(zip(maps or {}, first, strict=True))
        found = {name: value[tuple(box)].movedim(axis, 0) for name, value in more.items()}
        yield Chunk(axis, tuple(box), part, own, found.get("label"), found.get("inside"))


def gathered(p, axis, size, scratch, maps=None, structures=None, more=None, **options):
    gatherer = Gatherer(SHAPE, axis, structures or range(1, len(p)), scratch, **options)
    for chunk in chunks(p, axis, size, maps, **(more or {})):
        gatherer.add(chunk)
    return gatherer.finish()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("on_disk", [False, True])
def test_label_error_and_alternative_are_exact(axis, on_disk):
    p = probabilities()
    found = gathered(p, axis, 2, Scratch(on_disk=on_disk), covered=True)
    label = p.argmax(0).numpy()
    assert found.label.dtype == np.uint8
    assert np.array_equal(found.label, label)
    assert np.array_equal(found.maps["error_probability"], (1 - p.amax(0)).numpy())
    best = p[1:].amax(0).numpy()
    second = np.where((label == 0) & (best >= CUT), p[1:].argmax(0).numpy() + 1, 0)
    assert ((label == 0) & (second == 0)).any()
    assert np.array_equal(found.alternative, second)
    assert found.maps.keys() == {"error_probability"}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_boxes_hold_what_reaches_the_cut_and_count_what_does_not(axis):
    p = probabilities()
    found = gathered(p, axis, 3, Scratch(), covered=True)
    for c in range(1, CLASSES):
        volume, own = found.boxes[f"probability_{c}"], p[c].numpy()
        kept = (own >= CUT) | (found.label == c)
        assert 0 < kept.sum() < own.size
        assert np.array_equal(np.asarray(volume), np.where(kept, own, 0))
        assert volume.total == pytest.approx(own.sum(dtype=np.float64), rel=1e-12)
        assert sum(block.values.size for block in volume.blocks) < own.size


def test_without_a_cut_everything_is_kept():
    p = probabilities()
    found = gathered(p, 0, 3, Scratch(on_disk=False), covered=True, cut=0.0, structures=[2])
    assert found.boxes.keys() == {"probability_2"}
    assert np.array_equal(np.asarray(found.boxes["probability_2"]), p[2].numpy())


def test_how_planes_are_bundled_changes_no_bit():
    p = probabilities()
    maps = {"variance": torch.rand(SHAPE), "variance_2": torch.rand(SHAPE)}
    one, *others = (gathered(p, 2, size, Scratch(), maps, covered=True) for size in (1, 2, 4, 6))
    for other in others:
        assert np.array_equal(other.label, one.label)
        assert np.array_equal(other.maps["variance"], one.maps["variance"])
        assert (
            other.boxes.keys() == one.boxes.keys() == {"variance_2", *(f"probability_{c}" for c in range(1, CLASSES))}
        )
        for name, volume in one.boxes.items():
            assert np.array_equal(np.asarray(other.boxes[name]), np.asarray(volume))
            assert other.boxes[name].total == volume.total


def test_a_label_of_its_own_is_kept_and_its_error_is_the_rest():
    p = probabilities()
    label = torch.randint(0, CLASSES, SHAPE)
    found = gathered(p, 1, 3, Scratch(on_disk=False), covered=True, more={"label": label})
    assert np.array_equal(found.label, label.numpy())
    assert np.allclose(found.maps["error_probability"], 1 - p.gather(0, label[None])[0].numpy(), atol=1e-7)


def test_a_threshold_on_the_foreground_cuts_the_label():
    p = probabilities()
    found = gathered(p, 1, 3, Scratch(), covered=True, label_by=Threshold("percentile"))
    foreground = 1 - p[0].numpy()
    label = np.where(foreground > threshold(foreground, "percentile"), p[1:].argmax(0).numpy() + 1, 0)
    assert np.array_equal(found.label, label)
    chosen = np.take_along_axis(p.numpy(), label[None].astype(int), 0)[0]
    assert np.allclose(found.maps["error_probability"], 1 - chosen, atol=1e-7)
    assert not found.alternative[label > 0].any()
    assert found.maps.keys() == {"error_probability"}


def test_what_was_not_seen_is_marked_and_dropped_where_all_was():
    p = probabilities()
    inside = torch.ones(SHAPE, dtype=torch.bool)
    inside[:, :3] = False
    found = gathered(p, 1, 2, Scratch(on_disk=False), more={"inside": inside})
    assert np.array_equal(found.maps["valid"], inside.float().numpy())
    assert "valid" not in gathered(p, 1, 2, Scratch(on_disk=False)).maps


def test_files_go_with_the_last_reference_and_a_given_folder_stays(tmp_path):
    p = probabilities()
    scratch = Scratch()
    found, folder = gathered(p, 0, 3, scratch), scratch.folder
    assert isinstance(found.label.base, np.memmap) or isinstance(found.label, np.memmap)
    assert any(folder.iterdir())
    del scratch
    gc.collect()
    assert not folder.exists()
    gathered(p, 0, 3, Scratch(tmp_path / "kept"))
    assert any((tmp_path / "kept").iterdir())


def test_more_structures_than_a_label_names_are_refused():
    p = torch.full((257, *SHAPE), 1 / 257)
    with pytest.raises(BundleError, match="255 structures at most; this model has 256"):
        gathered(p, 0, 3, Scratch(on_disk=False), structures=[1])
    assert gathered(p[:256], 0, 3, Scratch(on_disk=False), structures=[1]).label.max() == 0
