"""The simulation, run for real on a few small phantoms: what is learnt, what is kept, and what a kill leaves."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.simulation.cell import START, Cell
from uncertaintyseg.simulation.loop import simulate
from uncertaintyseg.simulation.settings import Settings, configs_of, parts_for_simulation
from uncertaintyseg.workers import LocalCrew

STRATEGIES = ("random", "predictive_entropy", "diversity")
ROUNDS = 2


class Killed(BaseException):
    """As abrupt as a signal: nothing catches it."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return Bundle.load(tiny.write_bundle(tmp_path_factory.mktemp("models"), recipe={"learning_rate": 0.02}))


@pytest.fixture(scope="module")
def settings(bundle, phantoms) -> Settings:
    pool, test = parts_for_simulation(read_cases(phantoms), None)
    return Settings(
        model=bundle.name, configs=configs_of(bundle), data="phantoms", pool=pool, test=test, start=2, step=1,
        iterations=2, device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(bundle, settings, phantoms):
    def start(output: Path, strategies: Sequence[str] = STRATEGIES, *, seeds: int = 1, **options: object) -> None:
        simulate(
            options.pop("settings", settings), phantoms, bundle, output, strategies=strategies, seeds=range(seeds),
            rounds=ROUNDS, learning_rate=0.02, **options,
        )  # fmt: skip

    return start


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory) -> Path:
    """A simulation that ran to its end."""
    output = tmp_path_factory.mktemp("simulation")
    run(output)
    return output


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """One of a test's own that ran to its end."""
    return shutil.copytree(finished, tmp_path / "copied")


def labelled(output: Path, strategy: str, number: int, seed: int = 0) -> list[str]:
    return Cell(output, strategy if number else START, seed, number).outcome().labelled


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_round_adds_labels_from_the_pool_to_those_there_were(finished, settings, strategy):
    for number in range(ROUNDS + 1):
        have = labelled(finished, strategy, number)
        assert len(have) == len(set(have)) == 2 + number
        assert set(have) <= set(settings.pool)
        assert not set(have) & set(settings.test)
        if number:
            assert have[:-1] == labelled(finished, strategy, number - 1)


def test_every_held_out_case_is_measured_in_every_structure(finished, settings):
    outcome = Cell(finished, "diversity", 0, 2).outcome()
    assert set(outcome.dice) == {"organ", "lesion"}
    assert all(len(values) == len(settings.test) for values in outcome.dice.values())
    assert all(value is None or 0 <= value <= 1 for values in outcome.dice.values() for value in values)
    assert set(outcome.seconds) == {"choose", "learn", "measure"}


def test_only_models_that_something_goes_on_from_are_kept(finished):
    kept = {path.parents[1].relative_to(finished / "cells" / "seed_0") for path in finished.rglob("model/configs")}
    assert kept == {Path(START, "round_0")} | {Path(name, f"round_{ROUNDS}") for name in STRATEGIES}


def test_a_killed_simulation_goes_on_and_ends_as_if_nothing_had_happened(run, finished, tmp_path):
    def kill(_: str, fraction: float) -> None:
        if fraction > 0.5:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, progress=kill)
    done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("cell.json")}
    assert 0 < len(done) < 7
    run(tmp_path)
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    for path in finished.rglob("cell.json"):
        cell = Cell(tmp_path, path.parents[1].name, 0, int(path.parent.name[-1]))
        before = Cell(finished, cell.strategy, 0, cell.round).outcome()
        assert cell.outcome().model_dump(exclude={"seconds"}) == before.model_dump(exclude={"seconds"})


def test_what_a_cell_that_was_cut_short_left_does_not_matter(run, finished, copied):
    shutil.rmtree(Cell(copied, "random", 0, 2).folder)
    cut_short = Cell(copied, "random", 0, 1).folder
    shutil.rmtree(cut_short)
    left = cut_short / "model" / "configs"
    left.mkdir(parents=True)
    (left / "metadata.json").write_text("{")
    run(copied, ["random"])
    assert Cell(copied, "random", 0, 2).outcome().dice == Cell(finished, "random", 0, 2).outcome().dice


def test_seeds_and_strategies_can_be_added_later(run, copied):
    run(copied, ["foreground_random"], seeds=2)
    assert labelled(copied, "random", 0, seed=0) != labelled(copied, "random", 0, seed=1)
    assert len(labelled(copied, "foreground_random", 2, seed=1)) == 4


def test_processes_do_the_same_as_one(run, finished, tmp_path):
    run(tmp_path, ["random"], crew=lambda: LocalCrew(2, 1))
    for number in range(ROUNDS + 1):
        assert labelled(tmp_path, "random", number) == labelled(finished, "random", number)


def test_a_folder_with_another_simulation_is_left_alone_unless_told_otherwise(run, settings, copied):
    (copied / "notes.txt").write_text("mine")
    other = settings.model_copy(update={"iterations": 1})
    with pytest.raises(InputError, match=r"another 'iterations'.*--output"):
        run(copied, ["random"], settings=other)
    run(copied, ["random"], settings=other, resume=False)
    assert (copied / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_pool_that_ends_early_ends_with_all_labels(run, settings, tmp_path):
    few = settings.model_copy(update={"pool": settings.pool[:3]})
    run(tmp_path, ["predictive_entropy"], settings=few)
    assert sorted(labelled(tmp_path, "predictive_entropy", 2)) == sorted(few.pool)


def test_the_held_out_cases_are_the_same_at_every_call_and_not_in_the_pool(phantoms):
    cases = read_cases(phantoms)
    pool, test = parts_for_simulation(cases, None)
    assert (pool, test) == parts_for_simulation(cases[::-1], None)
    assert sorted(pool + test) == sorted(case.id for case in cases)
    with pytest.raises(InputError, match="at least five"):
        parts_for_simulation(cases[:4], None)
    with pytest.raises(InputError, match="without a label in DATA"):
        parts_for_simulation(cases, "msd_hippocampus")
