"""What a batch infers, and how its labels are kept: beside those of people, never in their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.jobs import Report, ResultStore, Step
from monailabel_app.store.studies import Note
from uncertaintyseg.errors import InputError


def batch_images(datastore: StudyDatastore, images: str | list[str]) -> list[str]:
    """Return the ids of "all", "labeled" or "unlabeled" images, sorted, or those named as they are."""
    choose: dict[str, Callable[[], list[str]]] = {
        "all": datastore.list_images,
        "labeled": datastore.get_labeled_images,
        "unlabeled": datastore.get_unlabeled_images,
    }
    return sorted(choose[images]()) if isinstance(images, str) else images


def checked_batch_tag(tag: str) -> str:
    """Return a tag that a batch may save labels with. Raises `InputError` for that of final labels, people's."""
    if tag.casefold() == FINAL:
        raise InputError("params.label_tag: 'final' is for labels that a person has approved; use another tag")
    return tag


@dataclass(frozen=True)
class BatchLabels:
    """Keeps the labels of a batch; one counts where the label that did is no person's.

    Attributes:
        datastore: Where they are kept.
        results: Where they come from.
        model: Name of the model.
        tag: Which of a case's labels they are.
        note: Told of each in the same transaction.
    """

    datastore: StudyDatastore
    results: ResultStore
    model: str
    tag: str
    note: Note

    def save(self, step: Step, report: Report) -> None:
        """Keep one."""
        key = report.risk.result
        info = {"model": self.model, "result": key, "checksum": report.risk.provenance.weights_checksum}
        with self.datastore.transaction():
            known = self.datastore.store.label(step.image, self.tag)
            is_a_persons = known is not None and bool(known.version.made_by)
            path = str(self.results.label_path(key))
            self.datastore.save_label(step.image, path, self.tag, info, self.note, current=not is_a_persons)
