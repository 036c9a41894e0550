"""One way over cases: the same numbers whoever does them, and what is done stays done."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import InputError, StorageError, UncertaintySegError
from uncertaintyseg.inference.audit import audit
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.calibrating import calibrate
from uncertaintyseg.inference.case_loop import ByWorkers, GoingOn, Here, PredictorSpec, in_order
from uncertaintyseg.inference.choosing import ranking_figures
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.journal import Journal
from uncertaintyseg.inference.model_hash import model_hash, run_hash
from uncertaintyseg.inference.ood import evaluate_with_ood
from uncertaintyseg.inference.shape_rows import shape_rows
from uncertaintyseg.workers import LocalCrew, Outcome


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return tiny.give_random_weights(tiny.write_bundle(tmp_path_factory.mktemp("models"), **tiny.COARSE_MODEL))


@pytest.fixture(scope="module")
def spec(bundle) -> PredictorSpec:
    return PredictorSpec(bundle.folder, model_hash(bundle))


@pytest.fixture(scope="module")
def predictor(spec):
    return spec.load()


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny.write_phantoms(folder, 10, **tiny.COARSE)
    return read_cases(folder)


@pytest.fixture(scope="module")
def by_two(spec) -> ByWorkers:
    return ByWorkers(spec, lambda: LocalCrew(2, 1))


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if "seconds" not in key}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def same(one, other) -> bool:
    """As JSON, where NaN is NaN."""
    return json.dumps(without_seconds(one), sort_keys=True) == json.dumps(without_seconds(other), sort_keys=True)


def test_an_evaluation_by_workers_is_that_of_one_process_to_the_last_digit(predictor, cases, by_two):
    kept = {"here": [], "there": []}
    here, there = (
        evaluate(predictor, cases, keep=shape_rows, take=lambda *told, who=who: kept[who].append(told), loop=loop)
        for who, loop in (("here", None), ("there", by_two))
    )
    assert here["n"] == 10
    assert same(here, there)
    assert same(kept["here"], kept["there"])
    assert [case for case, _ in kept["there"]] == [case.id for case in cases]


def test_calibration_choice_audit_and_strangers_are_too(predictor, cases, by_two):
    one, other = (calibrate(predictor, cases, loop=loop) for loop in (None, by_two))
    assert one.model_dump(exclude={"created"}) == other.model_dump(exclude={"created"})
    one, other = (ranking_figures(predictor, cases[:3], loop=loop) for loop in (None, by_two))
    assert one == other
    one, other = (audit(predictor, cases[:3], loop=loop) for loop in (None, by_two))
    assert same(one, other)
    strangers = [replace(case, id=f"other_{case.id}") for case in cases[3:5]]
    one, other = (evaluate_with_ood(predictor, cases[:3], strangers, loop=loop) for loop in (None, by_two))
    assert same(one, other)
    assert one["ood"]["n_outside"] == 2


def deadly(predictor, case, progress):
    """Kills the process at the third case; the second cannot be used."""
    if case.id == "case_2":
        os.kill(os.getpid(), signal.SIGKILL)
    if case.id == "case_1":
        raise InputError(f"{case.id} is damaged")
    return {"id": case.id}


def threads_of(predictor, case, progress):
    """How many torch takes, and whether MONAI came without what nobody uses of it."""
    import torch

    return [torch.get_num_threads(), "matplotlib" in sys.modules]


def test_a_worker_takes_the_threads_that_it_is_given_whatever_its_task_brings_with_it(spec, cases, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for threads in (1, 2):
        loop = ByWorkers(spec, lambda threads=threads: LocalCrew(1, threads))
        (outcome,) = loop.each(threads_of, cases[:1], lambda *_: None)
        assert outcome.answer == [threads, False]


def full(predictor, case, progress):
    raise StorageError("the disk is full")


def test_a_full_disk_ends_all_for_every_other_case_would_meet_it(predictor, cases, by_two):
    for loop in (Here(predictor), by_two):
        with pytest.raises(StorageError, match="the disk is full"):
            list(loop.each(full, cases[:3], lambda *_: None))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_what_fails_is_named_and_the_rest_is_done(cases, by_two):
    told = []
    outcomes = by_two.each(deadly, cases[:5], lambda text, fraction: told.append((text, fraction)))
    found = {outcome.item.id: outcome for outcome in outcomes}
    assert [case for case, outcome in found.items() if outcome.error is None and outcome.answer == {"id": case}]
    assert found["case_1"].error == "case_1 is damaged"
    assert found["case_2"].died
    assert len(found) == 5
    assert told[-1][0].startswith("5 of 5, last ")
    assert [fraction for _, fraction in told] == sorted(fraction for _, fraction in told)


def test_a_model_folder_that_is_another_on_a_worker_is_refused(spec, cases):
    loop = ByWorkers(replace(spec, checksum="0" * 64), lambda: LocalCrew(1, 1))
    with pytest.raises(
        UncertaintySegError, match=r"tiny.*this model is not the one .* Copy the same folder everywhere"
    ):
        list(loop.each(deadly, cases[:1], lambda *_: None))


def test_the_hash_of_a_model_is_of_all_that_a_run_reads(bundle, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(bundle.folder, copy)
    assert model_hash(Bundle.load(copy)) == model_hash(bundle)
    config = copy / "configs" / "inference.json"
    config.write_text(config.read_text().replace('"overlap": 0.5', '"overlap": 0.25') + "\n")
    assert model_hash(Bundle.load(copy)) != model_hash(bundle)


def test_the_hash_of_a_run_is_also_of_the_other_members_of_an_ensemble(tmp_path):
    one, other = (
        tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", head, **tiny.COARSE_MODEL))
        for head in ("deterministic", "low_rank")
    )
    before = run_hash(one, "ensemble", {"models": [other.name]}, tmp_path / "models")
    assert before != model_hash(one) == run_hash(one, "tta", {})
    config = other.folder / "configs" / "inference.json"
    config.write_text(config.read_text() + " ")
    assert run_hash(one, "ensemble", {"models": [other.name]}, tmp_path / "models") != before


def test_outcomes_are_put_in_the_order_of_their_cases(cases):
    mixed = [Outcome(cases[i]) for i in (2, 0, 1, 3)]
    assert [outcome.item for outcome in in_order(mixed, cases[:4])] == cases[:4]


class Counting(Here):
    """Notes which cases it does; after some it is interrupted."""

    def __init__(self, stop_after=None):
        self.done, self.stop_after = [], stop_after

    def each(self, work, cases, progress):
        for case in cases:
            if self.stop_after is not None and len(self.done) == self.stop_after:
                raise KeyboardInterrupt
            self.done.append(case.id)
            yield Outcome(case, {"id": case.id, "values": np.arange(3.0), "nothing": None})


def walked(journal, cases, work=deadly, stop_after=None, is_there=lambda case, answer: True):
    """The ids of the cases that had to be done, and all outcomes."""
    loop = Counting(stop_after)
    outcomes = []
    with suppress(KeyboardInterrupt):
        outcomes += GoingOn(loop, journal, is_there).each(work, cases, lambda *_: None)
    return loop.done, outcomes


def test_a_stopped_loop_goes_on_where_it_stopped_with_the_same_answers(cases, tmp_path):
    def journal():
        return Journal(tmp_path, {"model": "m"}, 1)

    assert walked(journal(), cases[:4], stop_after=3)[0] == ["case_0", "case_1", "case_2"]
    done, outcomes = walked(journal(), cases[:4])
    assert done == ["case_3"]
    assert [outcome.item.id for outcome in outcomes] == ["case_0", "case_1", "case_2", "case_3"]
    assert outcomes[0].answer["values"].tolist() == [0.0, 1.0, 2.0]
    journal().close()
    assert len(walked(journal(), cases[:4])[0]) == 4


def test_what_an_answer_depends_on_makes_it_anew(cases, tmp_path):
    walked(Journal(tmp_path, {"model": "m"}, 1), cases[:2])
    assert walked(Journal(tmp_path, {"model": "other"}, 1), cases[:2])[0] == ["case_0", "case_1"]
    other_work = partial(deadly, progress=None)
    assert walked(Journal(tmp_path, {"model": "m"}, 1), cases[:2], other_work)[0] == ["case_0", "case_1"]
    os.utime(cases[1].label, ns=(1, 1))  # as a label that was corrected meanwhile
    assert walked(Journal(tmp_path, {"model": "m"}, 1), cases[:2])[0] == ["case_1"]
    gone = walked(Journal(tmp_path, {"model": "m"}, 1), cases[:2], is_there=lambda case, _: case.id != "case_0")
    assert gone[0] == ["case_0"]


def touching(predictor, case, progress):
    """As a label that is corrected while its case is at work."""
    os.utime(case.label, ns=(2, 2))
    return {"id": case.id}


def test_of_a_case_whose_label_changed_while_it_was_done_nothing_is_kept(cases, tmp_path):
    def journal():
        return Journal(tmp_path, {"model": "m"}, 1)

    loop = GoingOn(Here(None), journal())
    assert len(list(loop.each(touching, cases[2:4], lambda *_: None))) == 2
    assert [journal().answer(touching, case) for case in cases[2:4]] == [None, None]


def test_a_case_that_is_read_otherwise_or_has_other_roles_for_its_files_is_done_again(cases, tmp_path):
    walked(Journal(tmp_path, {}, 1), cases[:1])
    (case,) = cases[:1]
    for other in (replace(case, own_ids=not case.own_ids), replace(case, label=None, raters=(case.label,))):
        assert walked(Journal(tmp_path, {}, 1), [other])[0] == [case.id]
    assert not walked(Journal(tmp_path, {}, 1), cases[:1])[0]


def test_answers_of_an_earlier_run_are_read_one_at_a_time(cases, tmp_path, monkeypatch):
    walked(Journal(tmp_path, {}, 1), cases[:3])
    journal, read = Journal(tmp_path, {}, 1), []
    answer = journal.answer
    monkeypatch.setattr(journal, "answer", lambda work, case: read.append(case.id) or answer(work, case))
    next(GoingOn(Counting(None), journal).each(deadly, cases[:3], lambda *_: None))
    assert read == ["case_0"]


def test_a_damaged_entry_is_done_again_and_a_full_disk_only_costs_time(cases, tmp_path, monkeypatch):
    journal = Journal(tmp_path, {}, 1)
    walked(journal, cases[:2])
    first, second = sorted(tmp_path.glob("*/*.npz"))
    first.write_bytes(first.read_bytes()[:40])
    second.write_bytes(b"")
    assert len(walked(Journal(tmp_path, {}, 1), cases[:2])[0]) == 2
    monkeypatch.setattr("uncertaintyseg.inference.journal.write_bytes", _full)
    assert len(walked(Journal(tmp_path / "full", {}, 1), cases[:2])[1]) == 2


def _full(path, data):
    raise InputError(f"{path}: the disk is full")


def test_what_nobody_went_on_with_for_two_weeks_is_dropped(cases, tmp_path):
    walked(Journal(tmp_path, {}, 1), cases[:1])
    (folder,) = tmp_path.iterdir()
    os.utime(folder, (0, 0))
    Journal(tmp_path, {"another": 1}, 1)
    assert not folder.exists()
