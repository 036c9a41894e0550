"""`uncertaintyseg train --fine-tune` and `--samples`: Mixture-of-Bases as its paper trains it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.recipe import Recipe

FAITHFUL = ("--objective", "expected_ce", "--estimator", "mc", "--samples", "2", "--epochs", "2")
MIXTURE = ("--head", "mixture_of_bases", "--option", "parts=2", "--option", "rank=2")


def moved(folder: str, base: Bundle) -> float:
    """How far the weights of the backbone are from those of the model that was started from."""
    pairs = zip(Bundle.load(folder).network().backbone.parameters(), base.network().backbone.parameters(), strict=True)
    return max(float((new - old).abs().max()) for new, old in pairs)


@pytest.mark.parametrize("bases", [1, 5])
def test_the_whole_network_learns_the_backbone_slower(command, models, windows, tmp_path, bases):
    name, option, folder = models("deterministic")
    common = ("train", name, option, folder, windows, *MIXTURE, "--option", f"bases={bases}", *FAITHFUL, "--json")
    base = Bundle.load(Path(folder) / name)
    frozen = command(*common, "--output", tmp_path / "frozen").json
    tuned = command(*common, "--fine-tune", "--output", tmp_path / "tuned").json
    same = command(*common, "--fine-tune", "--backbone-rate", "1", "--output", tmp_path / "same").json
    assert Bundle.load(tuned["folder"]).network().head.bases.shape[0] == bases
    still, slow, fast = (moved(report["folder"], base) for report in (frozen, tuned, same))
    assert still < 1e-3  # as weights are kept in half precision
    assert still < slow < fast
    assert [Recipe.load(Bundle.load(report["folder"])).backbone_rate for report in (frozen, tuned, same)] == [1, 0.1, 1]
    assert Recipe.load(Bundle.load(frozen["folder"])).backbone == "frozen"
    assert Recipe.load(Bundle.load(tuned["folder"])).backbone == "fine-tuned"
    assert all(torch.isfinite(p).all() for p in Bundle.load(tuned["folder"]).network().parameters())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--fine-tune",), "is trained anyway"),
        (("--head", "laplace", "--fine-tune"), "is fitted, not trained"),
        (("--head", "laplace", "--epochs", "3"), "--epochs: the head 'laplace' is fitted to a trained network"),
        (("--head", "temperature", "--objective", "hybrid"), "--objective: the head 'temperature' is fitted"),
        (("--no-fine-tune",), "--no-fine-tune: all of"),
        (("--head", "segwithu", "--fine-tune"), "a network that stays as it is"),
        (("--head", "diagonal", "--backbone-rate", "0.5"), "belongs to --fine-tune"),
        (("--head", "diagonal", "--fine-tune", "--backbone-rate", "0"), "a share above 0"),
        (("--head", "diagonal", "--samples", "3"), "add --estimator mc"),
        (("--head", "mixture_of_bases", "--option", "bases=0"), "a whole number from 1 on"),
        (("--head", "mixture_of_bases", "--option", "bases=2.5"), "a whole number from 1 on"),
    ],
)
def test_what_cannot_be_is_told(command, models, windows, tmp_path, args, message):
    ended = command("train", *models("deterministic"), windows, *args, "--output", tmp_path)
    assert message in ended.message
