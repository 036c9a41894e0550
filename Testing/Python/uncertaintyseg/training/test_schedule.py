"""Learning rates over a fit, optimisers, and clipping."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from torch import nn

from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.schedule import Schedule, clip_gradients, make_optimizer, parameter_groups


def recipe(**changes: object) -> Recipe:
    return Recipe(stage="backbone", crop=(8, 8, 8), epochs=4, learning_rate=0.1, **changes)


def setup(**changes: object) -> tuple[Engine, torch.optim.Optimizer, Schedule]:
    engine = Engine(lambda engine, batch: None)
    optimizer = make_optimizer([nn.Parameter(torch.ones(1))], recipe(**changes))
    return engine, optimizer, Schedule(engine, optimizer, recipe(**changes))


def rate(optimizer: torch.optim.Optimizer) -> float:
    return optimizer.param_groups[0]["lr"]


def test_poly_falls_to_nearly_nothing_over_the_fit():
    engine, optimizer, schedule = setup()
    rates = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: rates.append(rate(optimizer)))
    engine.run(range(5), max_epochs=4)
    assert rates == pytest.approx([0.1 * (1 - i / 20) ** 0.9 for i in range(20)])
    schedule.validated(0.0)
    assert rate(optimizer) == rates[-1]


def test_a_plateau_halves_the_rate_after_five_validations_in_vain():
    _, optimizer, schedule = setup(schedule="plateau")
    rates = []
    for score in [-3, -2, -2, -2.5, -2, -2, -2, -2, -1.9999, -2]:
        schedule.validated(score)
        rates.append(rate(optimizer))
    assert rates == [0.1] * 7 + [0.05] * 3


def test_a_validation_without_a_number_is_in_vain():
    _, optimizer, schedule = setup(schedule="plateau")
    for score in [0.5] + 6 * [float("nan")]:
        schedule.validated(score)
    assert rate(optimizer) == 0.05


def test_the_rate_never_falls_below_its_least():
    _, optimizer, schedule = setup(schedule="plateau")
    for _ in range(200):
        schedule.validated(0.0)
    assert rate(optimizer) == pytest.approx(1e-6, rel=0.01)


def test_a_plateau_goes_on_where_it_was_left():
    _, optimizer, schedule = setup(schedule="plateau")
    _, other_optimizer, other = setup(schedule="plateau")
    for _ in range(6):
        schedule.validated(0.5)
    other.load_state_dict(schedule.state_dict())
    for each in (schedule, other):
        each.validated(0.5)
    assert rate(optimizer) == rate(other_optimizer) == 0.05


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_is_the_recipes(name, kind):
    _, optimizer, _ = setup(optimizer=name, weight_decay=0.25)
    assert type(optimizer) is kind
    assert optimizer.defaults["weight_decay"] == 0.25


def test_sgd_steps_are_those_of_nesterovs_momentum():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer([weight], recipe(optimizer="sgd", weight_decay=0.25))
    expected, velocity = 1.0, 0.0
    for gradient in (2.0, -1.0, 0.5):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        decayed = gradient + 0.25 * expected
        velocity = 0.99 * velocity + decayed
        expected -= 0.1 * (decayed + 0.99 * velocity)
        assert weight.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("largest", "moved"), [(0.5, 0.5), (100.0, 8.0)])
def test_a_step_is_no_longer_than_its_clipped_gradient(largest, moved):
    network = nn.Linear(1, 1, bias=False)
    start = network.weight.item()
    data = [{"image": torch.tensor([[2.0]]), "label": torch.tensor([[0.0]])}]
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=data,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        loss_function=lambda output, target: 4 * output,  # gradient 8
        decollate=False,
    )
    clip_gradients(trainer, list(network.parameters()), largest)
    trainer.run()
    assert start - network.weight.item() == pytest.approx(moved, abs=1e-5)


def test_a_cosine_falls_step_by_step_to_the_rate_it_ends_with():
    engine, optimizer, _ = setup(schedule="cosine", final_learning_rate=0.03)
    rates = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: rates.append(rate(optimizer)))
    engine.run(range(5), max_epochs=4)
    assert rates == pytest.approx([0.03 + 0.035 * (1 + math.cos(math.pi * i / 20)) for i in range(20)])
    assert rates[0] == 0.1
    assert rates[10] == pytest.approx(0.065)


@pytest.mark.parametrize("schedule", ["poly", "cosine"])
def test_a_backbone_that_is_fine_tuned_learns_slower_all_the_while(schedule):
    network = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    settings = recipe(schedule=schedule, backbone_rate=0.1)
    optimizer = make_optimizer(parameter_groups(network, settings), settings)
    engine = Engine(lambda engine, batch: None)
    Schedule(engine, optimizer, settings)
    rates = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: rates.append([group["lr"] for group in optimizer.param_groups])
    )
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.01])
    engine.run(range(5), max_epochs=4)
    assert all(slow == pytest.approx(0.1 * fast) for fast, slow in rates)
    assert optimizer.param_groups[1]["params"] == list(network["backbone"].parameters())


def test_a_frozen_backbone_has_no_group():
    network = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    network["backbone"].requires_grad_(False)
    (group,) = parameter_groups(network, recipe(backbone_rate=0.1))
    assert group["params"] == list(network["head"].parameters())
