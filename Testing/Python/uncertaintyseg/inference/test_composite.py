"""Several networks as one: against all their answers written out, class by class and member by member."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import entr

from uncertaintyseg.inference.composite import NAMES, Joint, fresh
from uncertaintyseg.logits import Moments
from uncertaintyseg.measures import voxel_maps

VOXELS = 7
IDS = [[0, 3, 1], [0, 2], [0, 5, 4, 6]]
"""What the classes of three parts are called in the whole."""


def answers(members: int, sharp: float, seed: int = 0) -> list[np.ndarray]:
    """Probabilities `[members, classes, voxels]` of each part."""
    rng = np.random.default_rng(seed)
    logits = [sharp * rng.normal(size=(members, len(ids), VOXELS)) for ids in IDS]
    return [np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in logits]


def written_out(parts: list[np.ndarray]) -> np.ndarray:
    """Probability `[combinations of members, 7 classes, voxels]`, one later part after another taken to win."""
    found = []
    for chosen in product(*parts):
        whole = np.zeros((7, VOXELS))
        for picks in product(*(range(len(ids)) for ids in IDS)):
            p = np.prod([part[c] for part, c in zip(chosen, picks, strict=True)], axis=0)
            named = [ids[c] for ids, c in zip(IDS, picks, strict=True)]
            whole[next((i for i in reversed(named) if i), 0)] += p
        found.append(whole)
    return np.array(found)


def taken(parts: list[np.ndarray]) -> tuple[Joint, dict[int, np.ndarray], dict[int, np.ndarray]]:
    """The parts through `Joint`, and of each structure its probability and variance."""
    joint = Joint(**{n: torch.full((VOXELS,), fresh(n), dtype=torch.float64) for n in NAMES})
    joint.label, joint.structure = joint.label.byte(), joint.structure.byte()
    probability, variance = {}, {}
    for ids, part in reversed(list(zip(IDS, parts, strict=True))):
        tensor = torch.from_numpy(part)
        mean, second = tensor.mean(0), tensor.square().mean(0)
        expected = torch.special.entr(tensor).sum(1).mean(0)
        moments = Moments(mean[None], second[None], expected[None, None])
        found = voxel_maps(mean[None], moments.variance.sum(1, keepdim=True) / 2, expected[None, None])
        maps = {name: value[0, 0] for name, value in found.items()} | {"variance_0": moments.variance[0, 0]}
        whole, factor = joint.take(mean, maps, torch.tensor(ids, dtype=torch.uint8))
        for place, number in enumerate(ids[1:]):
            probability[number] = whole[place].numpy()
            variance[number] = (second[place + 1] * factor - whole[place] ** 2).numpy()
    return joint, probability, variance


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("sharp", [0.5, 3.0])
def test_all_that_is_known_of_the_whole_is_what_writing_it_out_gives(members, sharp):
    parts = answers(members, sharp)
    all_of_them = written_out(parts)
    mean = all_of_them.mean(0)
    np.testing.assert_allclose(mean.sum(0), 1)
    joint, probability, variance = taken(parts)
    np.testing.assert_allclose(joint.background, mean[0])
    for number in range(1, 7):
        np.testing.assert_allclose(probability[number], mean[number])
        np.testing.assert_allclose(variance[number], all_of_them[:, number].var(0), atol=1e-15)
    maps = {name: value.numpy() for name, value in joint.maps().items()}
    entropy, expected = entr(mean).sum(0), entr(all_of_them).sum(1).mean(0)
    second, first = np.sort(mean, 0)[-2:]
    np.testing.assert_allclose(maps["predictive_entropy"], entropy)
    np.testing.assert_allclose(maps["expected_entropy"], expected)
    np.testing.assert_allclose(maps["mutual_information"], entropy - expected, atol=1e-14)
    np.testing.assert_allclose(maps["variance"], all_of_them.var(0).sum(0) / 2, atol=1e-15)
    np.testing.assert_allclose(maps["margin_risk"], 1 - (first - second))
    assert joint.structure.tolist() == (1 + mean[1:].argmax(0)).tolist()


def test_the_label_is_the_merge_and_its_error_what_the_others_have():
    parts = answers(2, 2.0, seed=1)
    label = np.zeros(VOXELS, int)
    for ids, part in zip(IDS, parts, strict=True):
        own = np.array(ids)[part.mean(0).argmax(0)]
        label = np.where(own > 0, own, label)
    assert len(np.unique(label)) > 3
    joint, _, _ = taken(parts)
    assert joint.label.tolist() == label.tolist()
    mean = written_out(parts).mean(0)
    assert (mean.argmax(0) != label).any()  # the merge is not always the likeliest, and says so
    error = joint.maps()["error_probability"].numpy()
    np.testing.assert_allclose(error, 1 - np.take_along_axis(mean, label[None], 0)[0])
