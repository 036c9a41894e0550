"""The loss of the validation cases: what it is, and that SegWithU's own schedule goes by it."""

from __future__ import annotations

import csv
import json
import math

import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.inference.bundle import TRAINING
from uncertaintyseg.inference.stream import WindowLayout
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.held_out_loss import held_out_loss
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.variant import with_head


def network(head: str, **options: object) -> Segmenter:
    torch.manual_seed(0)
    backbone = tiny.IntensityBackbone()
    backbone.taps = {}
    return Segmenter(backbone, head, 3, **options)


def loss() -> HeadLoss:
    return HeadLoss("marginal_nll", generator=torch.Generator())


def case(shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {"image": torch.randn(1, *shape), "label": torch.randint(3, (1, *shape))}


def test_it_is_the_mean_of_the_losses_of_the_windows():
    one, held = network("diagonal"), [case((8, 8, 16)), case((8, 8, 8))]
    found = held_out_loss(one, loss(), WindowLayout((8, 8, 8), 0.0), held, "cpu")
    one.train()
    parts = [
        [loss()(one(item["image"][None, ..., z : z + 8]), item["label"][None, ..., z : z + 8]).item() for z in starts]
        for item, starts in zip(held, ((0, 8), (0,)), strict=True)
    ]
    assert found == pytest.approx((sum(parts[0]) / 2 + parts[1][0]) / 2)


def test_all_terms_of_a_head_with_a_loss_of_its_own_count_and_it_repeats():
    one, held = network("segwithu"), [case((8, 8, 8))]
    layout = WindowLayout((8, 8, 8), 0.0)
    found = held_out_loss(one, loss(), layout, held, "cpu")
    assert not one.training
    assert not one.head.training
    assert found == held_out_loss(one, loss(), layout, held, "cpu")
    one.train()
    output = one(held[0]["image"][None])
    terms = output.terms(held[0]["label"][None], torch.Generator().manual_seed(0))
    assert found == pytest.approx(sum(term.item() for term in terms.values()), rel=1e-5)


def test_the_draws_of_the_training_go_on_as_if_nobody_had_validated():
    sampled = HeadLoss("marginal_nll", "mc", generator=torch.Generator().manual_seed(3))
    before = sampled.generator.get_state()
    held_out_loss(network("diagonal"), sampled, WindowLayout((8, 8, 8), 0.0), [case((8, 8, 8))], "cpu")
    assert torch.equal(sampled.generator.get_state(), before)


def test_a_small_case_is_padded_with_voxels_that_do_not_count():
    one = network("diagonal")
    layout = WindowLayout((8, 8, 8), 0.0, "sliding")
    small = case((8, 8, 6))
    found = held_out_loss(one, loss(), layout, [small], "cpu")
    one.train()
    assert found == pytest.approx(loss()(one(small["image"][None]), small["label"][None]).item(), rel=1e-5)


def test_faithful_segwithu_is_trained_as_its_authors_do(tmp_path, windows):
    trained = tiny.give_random_weights(tiny.write_bundle(tmp_path / "models"))
    made = with_head(trained, "segwithu", tmp_path / "runs", faithful=True)
    settings = json.loads((made.folder / TRAINING).read_text(encoding="utf-8"))["recipe"]
    published = {
        "epochs": 100, "patience": 10, "learning_rate": 1e-3, "schedule": "cosine", "final_learning_rate": 3e-4,
        "weight_decay": 0.01, "clip": 12.0, "best": "validation_loss", "validate_every": 1, "backbone": "frozen",
    }  # fmt: skip
    assert settings.items() >= published.items()
    plain = with_head(trained, "segwithu", tmp_path / "plain")
    assert Recipe.load(plain).best is None
    cases = read_cases(windows)
    report = fit(
        made, cases[:1], cases[:1], tmp_path / "runs",
        recipe=Recipe.load(made, epochs=3), models=[trained.folder.parent],
    )  # fmt: skip
    with (report.bundle.folder / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["validation_loss"]) for row in rows]
    assert losses[report.best_epoch - 1] == min(losses) == report.validation["validation_loss"]
    rates = [float(row["learning_rate"]) for row in rows]  # one step an epoch
    assert rates == pytest.approx([3e-4 + 3.5e-4 * (1 + math.cos(math.pi * i / 3)) for i in range(3)])
