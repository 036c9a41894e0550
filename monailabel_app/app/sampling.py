"""Which images to label next. Each answer says why; none fails when every image has its label."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.strategy import Strategy
from pydantic import AliasChoices, Field, field_validator

from monailabel_app.app.assignments import LEASE_MINUTES, Assignments, clock
from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.infer_task import BundleInferTask, Params, find_task
from monailabel_app.app.scores import Scored, Scores
from monailabel_app.app.stopping import stopping_hint
from uncertaintyseg import NUMBERS
from uncertaintyseg.active.acquisition import ACQUISITIONS
from uncertaintyseg.active.candidates import Candidate, Choice, Pool
from uncertaintyseg.active.strategies import STRATEGIES, check_suits
from uncertaintyseg.data.time_axis import AXIS
from uncertaintyseg.errors import InputError

_LABELS_A_ROUND = 5
"""As in `uncertaintyseg simulate`: what fades with the rounds there fades with the labels here."""


class SampleParams(Params):
    """What a client may ask for."""

    model: str | None = Field(None, description="Whose scores; by default the one that has scored most.")
    count: int = Field(1, ge=1, le=1000, validation_alias=AliasChoices("count", "k"), description="Images to serve.")
    skip: list[str] = Field(default_factory=list, description="Images to pass over from now on.")
    exclude: list[str] = Field(default_factory=list, description="Images not to serve this time.")
    lease_minutes: float = Field(LEASE_MINUTES, ge=0, le=7 * 24 * 60, description="How long others do not get them.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Of strategies that draw; drawn itself by default.")
    peek: bool = Field(False, description="Only say which: nobody gets it, and nothing is noted.")

    @field_validator("skip", "exclude", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class Sampling(Strategy):
    """One strategy of `uncertaintyseg.active` over the datastore.

    Args:
        name: of the strategy.
        scores: Where the scores are.
        tasks: The models by name.
        assignments: Who has which image.
    """

    def __init__(
        self, name: str, scores: Scores, tasks: Mapping[str, BundleInferTask], assignments: Assignments
    ) -> None:
        super().__init__(STRATEGIES[name].summary)
        self.name, self._strategy = name, STRATEGIES[name]
        self._scores, self._tasks, self._assignments = scores, tasks, assignments

    def info(self) -> dict[str, Any]:
        """Describe the strategy, and name the scores that it reads: a score job makes them, some of a head's map."""
        return {**super().info(), "reads": list(self._strategy.reads), "map": self._strategy.map}

    def __call__(self, request: dict[str, Any], datastore: StudyDatastore) -> dict[str, Any]:
        """Serve images without a final label that nobody else has; those the annotator skipped come last.

        Args:
            request: `annotator` and the fields of `SampleParams`.
            datastore: of the images.

        Returns:
            `samples` (each with id, score, reason and provenance) and `remaining`; the first sample also at the top,
            as stock clients want it. Without `id` when there is none to serve, and `reason` says why.

        Raises:
            NotFoundError: No such model, or no such image to skip.
            InputError: A field is wrong, or the model makes no such map as the strategy reads.
        """
        asked, annotator = SampleParams.read(request), request["annotator"]
        with datastore.transaction():  # two people who ask at once must not get the same
            for image in asked.skip if not asked.peek else ():
                self._assignments.skip(image, annotator)
            unlabelled = sorted(datastore.get_unlabeled_images())
            locked = self._assignments.with_others(annotator)
            skipped = self._assignments.skipped_by(annotator) & set(unlabelled)
            left = sorted(set(unlabelled).difference(asked.exclude))
            free = [image for image in left if image not in locked]
            wanted = [image for image in free if image not in skipped] or free
            model, scored = self._scored(asked.model, wanted)
            remaining = {
                "unlabelled": len(unlabelled),
                "scored": len(scored.keys() & set(unlabelled)),
                "skipped": len(skipped),
                "locked": len(locked.keys() & set(unlabelled)),
            }
            if not wanted:
                reason = self._why_none(datastore, unlabelled, left, locked)
                return {"strategy": self.name, "samples": [], "score": None, "reason": reason, "remaining": remaining}
            seed = secrets.randbits(32) if asked.seed is None else asked.seed
            samples = self._samples(wanted, datastore, model, scored, asked.count, seed)
            if not asked.peek:
                self._serve(samples, datastore, annotator, model, asked.lease_minutes)
            labelled = [datastore.get_image_info(image) for image in datastore.get_labeled_images()]
        hint = stopping_hint(labelled, self.name, model) if model else None
        first = {key: value for key, value in samples[0].items() if key != "provenance"}
        return {
            "strategy": self.name, **first, "samples": samples, "remaining": remaining, "seed": seed, "stopping": hint,
        } | ({"model": model} if model else {})  # fmt: skip

    def _samples(
        self,
        images: Sequence[str],
        datastore: StudyDatastore,
        model: str | None,
        scored: Mapping[str, Scored],
        count: int,
        seed: int,
    ) -> list[dict[str, Any]]:
        def candidate(image: str) -> Candidate:
            known = scored.get(image)
            return Candidate(image) if known is None else Candidate(image, known.scores, known.features)

        done = datastore.get_labeled_images()
        pool = Pool(
            unlabelled=[candidate(image) for image in images],
            labelled=[candidate(image) for image in done],
            round=len(done) // _LABELS_A_ROUND,
            rng=np.random.default_rng(seed),
        )
        chosen = self._strategy.choose(pool, count)
        axes = {choice.id: datastore.notes(choice.id).get(AXIS) for choice in chosen}
        return [{**self._sample(choice, pool, model, scored), "axis": axes[choice.id]} for choice in chosen]

    def _sample(self, choice: Choice, pool: Pool, model: str | None, scored: Mapping[str, Scored]) -> dict[str, Any]:
        known, reason = scored.get(choice.id), choice.reason
        provenance: dict[str, Any] = {"strategy": self.name, "date": datetime.now(timezone.utc).isoformat()}
        if self._strategy.reads and model is not None and known is not None:
            task, measure = self._tasks[model], self._strategy.reads[0]
            unscored = sum(case.id not in scored for case in pool.unlabelled)
            reason = f"{model}: {reason}" + (f"; {unscored} more have no score yet" if unscored else "")
            provenance |= {"model": model, "head": task.bundle.head, "checksum": task.checksum}
            provenance |= {"scored": datetime.fromtimestamp(known.ts, timezone.utc).isoformat()}
            if measure in known.scores:
                better = sum(case.scores.get(measure, -np.inf) > known.scores[measure] for case in pool.unlabelled)
                provenance |= {
                    "measure": measure, "score": known.scores[measure], "rank": 1 + better,
                    "of": sum(measure in case.scores for case in pool.unlabelled),
                }  # fmt: skip
                provenance |= {"unit": ACQUISITIONS[measure].unit} if measure in ACQUISITIONS else {}
        elif self._strategy.reads:
            reason += f". Run a score job{f' for {model}' if model else ''} to rank it"
        return {"id": choice.id, "score": choice.score, "reason": reason, "provenance": provenance}

    def _scored(self, model: str | None, images: Sequence[str]) -> tuple[str | None, dict[str, Scored]]:
        """What the model in the request said, else the one that has scored most of these images."""
        if not self._strategy.reads and model is None:
            return None, {}
        if model is not None:
            tasks = {model: find_task(self._tasks, model)}
            check_suits(self.name, model, tasks[model].bundle.maps)
        else:
            tasks = {name: task for name, task in self._tasks.items() if self._strategy.suits(task.bundle.maps)}
            if not tasks:
                raise InputError(f"{self.name}: no model here makes the map '{self._strategy.map}' that it reads.")
        by_model = {name: self._scores.all_of(name, task.checksum) for name, task in tasks.items()}
        return max(by_model.items(), key=lambda item: len(item[1].keys() & set(images)))

    def _serve(
        self, samples: Sequence[dict[str, Any]], datastore: StudyDatastore, annotator: str, model: str | None,
        minutes: float,
    ) -> None:  # fmt: skip
        notes = {}
        for sample in samples:
            before = datastore.get_image_info(sample["id"]).get("strategy")
            note = {"ts": int(time.time()), "client_id": annotator, "model": model, "score": sample["score"]}
            note["numbers"] = NUMBERS
            notes[sample["id"]] = {"strategy": {**(before if isinstance(before, dict) else {}), self.name: note}}
        self._assignments.take(notes, annotator, minutes, notes)

    @staticmethod
    def _why_none(
        datastore: StudyDatastore, unlabelled: Sequence[str], left: Sequence[str], locked: Mapping[str, float]
    ) -> str:
        if left:
            free = clock(min(locked[image] for image in left))
            return f"other annotators have the {len(left)} images that are left, the first until {free}"
        if unlabelled:
            return "every other image has a final label"
        total = len(datastore.list_images())
        return f"all {total} images have a final label" if total else "the studies folder holds no images"


def was_picked(info: Mapping[str, Any]) -> bool:
    """Whether a strategy has ever handed out the image with this record for a score, and not by name or by chance."""
    noted = info.get("strategy")
    return isinstance(noted, dict) and any(
        STRATEGIES[name].reads and isinstance(note, dict) and note.get("score") is not None
        for name, note in noted.items()
        if name in STRATEGIES
    )
