"""Planes of the model's grid reach the scan's grid as whole volumes would, whatever their bundles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from uncertaintyseg.data.geometry import resample
from uncertaintyseg.inference.stream import GridMap, Slab, onto_grid
from uncertaintyseg.inference.stream.averages import OnScan

MODEL = (11, 14, 9)


class AsItIs:
    """Hands values through; `p` are those that a chunk shows."""

    def reduced(self, values):
        return dict(values)

    def on_scan(self, values, inside):
        held = values["p"] if inside is None else values["p"].masked_fill(~inside, 0)
        return OnScan(held, {})


def grids(name: str):
    """Affines of model and scan, and the scan's shape."""
    model = np.diag([1.5, 1.5, 2.0, 1.0])
    model[:3, 3] = -8, 3, 5
    turns = {
        "same": (np.eye(4), MODEL),
        "flipped": (np.array([[-1.0, 0, 0, 10], [0, 1, 0, 0], [0, 0, -1, 8], [0, 0, 0, 1]]), MODEL),
        "turned": (np.array([[0, 1.0, 0, 0], [0, 0, -1, 13], [1, 0, 0, 0], [0, 0, 0, 1]]), (9, 11, 14)),
        "finer": (np.array([[0.5, 0, 0, -0.25], [0, 0.4, 0, -0.3], [0, 0, 0.61, -0.2], [0, 0, 0, 1]]), (22, 35, 15)),
        "coarser": (np.array([[0, 0, 2.2, 0.6], [-1.7, 0, 0, 12.4], [0, 1.3, 0, 0.1], [0, 0, 0, 1]]), (8, 7, 5)),
        "beyond": (np.array([[0.7, 0, 0, -3.1], [0, -0.9, 0, 15.2], [0, 0, 0.8, 2.3], [0, 0, 0, 1]]), (30, 21, 12)),
    }
    to_model, shape = turns[name]
    return model, model @ to_model, shape


def slabs(volume: torch.Tensor, axis: int, size: int):
    for start in range(0, volume.shape[axis + 1], size):
        corner = [0, 0, 0]
        corner[axis] = start
        part = volume.movedim(axis + 1, 1)[:, start : start + size].contiguous()
        yield Slab(axis, tuple(corner), {"p": part})


def brought(volume, grid, axis, size=3, chunk_bytes=10**9):
    out = torch.full((len(volume), *grid.shape), torch.nan)
    for chunk in onto_grid(slabs(volume, axis, size), grid, AsItIs(), chunk_bytes=chunk_bytes):
        out[(slice(None), *chunk.box)] = chunk.probability.movedim(1, chunk.axis + 1)
    return out


@pytest.mark.parametrize("name", ["same", "flipped", "turned", "finer", "coarser", "beyond"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("classes", [2, 3, 20])
def test_it_is_what_resampling_the_whole_gives_whatever_the_sizes(name, axis, classes):
    model, scan, shape = grids(name)
    volume = torch.rand(classes, *MODEL, generator=torch.Generator().manual_seed(classes))
    grid = GridMap(model, MODEL, scan, shape)
    found = brought(volume, grid, axis)
    assert torch.allclose(found, resample(volume, model, scan, shape), atol=2e-6)
    for size, chunk_bytes in ((1, 1), (4, 2000), (50, 1), (2, 10**9)):
        assert torch.equal(brought(volume, grid, axis, size, chunk_bytes), found)


@pytest.mark.parametrize("name", ["same", "flipped", "turned"])
def test_voxels_that_coincide_are_copied(name):
    model, scan, shape = grids(name)
    volume = torch.rand(2, *MODEL)
    assert torch.equal(brought(volume, GridMap(model, MODEL, scan, shape), 1), resample(volume, model, scan, shape))


def test_places_are_exact_also_far_along_an_axis():
    """Against interpolation in double precision: `resample` itself is off by up to 1e-5 of a voxel here."""
    size, scale = 600, 1.37
    ramp = torch.from_numpy(np.random.default_rng(0).random((1, size, 2, 2))).float()
    scan = np.diag([scale, 1, 1, 1.0])
    count = int(size / scale)
    wanted = map_coordinates(ramp[0, :, 0, 0].double().numpy(), [np.arange(count) * scale], order=1)
    found = brought(ramp, GridMap(np.eye(4), ramp.shape[1:], scan, (count, 2, 2)), 0)
    assert np.abs(found[0, :, 0, 0].numpy() - wanted).max() < 2e-7


def test_along_a_nearest_axis_the_nearest_voxel_is_taken():
    volume = torch.arange(4.0).reshape(1, 1, 1, 4) + torch.arange(3.0).reshape(1, 3, 1, 1) * 10
    scan = np.diag([0.5, 1, 0.3, 1.0])
    grid = GridMap(np.eye(4), (3, 1, 4), scan, (5, 1, 11), nearest=(2,))
    found = brought(volume, grid, 0)[0, :, 0]
    wanted = np.arange(5)[:, None] * 5 + np.round(np.arange(11) * 0.3)
    assert np.allclose(found.numpy(), wanted, atol=1e-6)


def test_what_the_model_did_not_see_is_marked():
    model, scan, shape = grids("beyond")
    grid = GridMap(model, MODEL, scan, shape)
    assert not grid.covered
    seen = torch.zeros(shape, dtype=torch.bool)
    for chunk in onto_grid(slabs(torch.rand(1, *MODEL), 2, 2), grid, AsItIs()):
        seen[chunk.box] = chunk.inside.movedim(0, chunk.axis)
    ones = torch.ones((1, *MODEL), dtype=torch.uint8)
    assert torch.equal(seen, resample(ones, model, scan, shape, nearest=True)[0] > 0)
    assert GridMap(*(grids("finer")[0], MODEL, *grids("finer")[1:])).covered


def test_only_the_region_that_was_asked_for_comes():
    model, scan, shape = grids("finer")
    region = (slice(4, 9), slice(30, 35), slice(0, 15))
    volume = torch.rand(2, *MODEL)
    grid = GridMap(model, MODEL, scan, shape, region=region)
    found = brought(volume, grid, 0)
    outside = torch.ones(shape, dtype=torch.bool)
    outside[region] = False
    assert torch.isnan(found[:, outside]).all()
    whole = brought(volume, GridMap(model, MODEL, scan, shape), 0)
    assert torch.equal(found[(slice(None), *region)], whole[(slice(None), *region)])
    needed = grid.box_on_model()
    volume[:, : needed[0].start] = volume[:, needed[0].stop :] = torch.nan
    assert not torch.isnan(brought(volume, grid, 0)[(slice(None), *region)]).any()


def test_grids_sheared_against_each_other_are_resampled_as_a_whole():
    model, scan, shape = np.eye(4), np.eye(4), (9, 12, 8)
    scan[0, 1], scan[1, 2] = 0.2, -0.1
    volume = torch.rand(3, *MODEL)
    grid = GridMap(model, MODEL, scan, shape)
    assert not grid.separable
    found = brought(volume, grid, 1)
    assert torch.allclose(found, resample(volume, model, scan, shape), atol=1e-6)
    assert torch.equal(brought(volume, grid, 1, 2, 1), found)
