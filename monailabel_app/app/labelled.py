"""Which labelled cases train a model, which judge it, and which are kept to calibrate it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.app.hand_labels import check_by_hand, unclear_numbers
from monailabel_app.jobs.train import LabelledCase
from monailabel_app.verified import counting_boxes
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.review.calibration import FEWEST

PURPOSE = "purpose"
"""Field of an image's record; `calibration` reserves the image, which then never trains or validates a model."""
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class LabelledCases:
    """Cases with a final label, by what they are for."""

    training: tuple[LabelledCase, ...]
    validation: tuple[LabelledCase, ...]
    calibration: tuple[LabelledCase, ...]


def labelled_cases(datastore: StudyDatastore, bundle: Bundle, models: Mapping[str, Bundle]) -> LabelledCases:
    """The labelled images that fit a model, split.

    Whether a case validates follows from the hash of its id alone, so that it stays what it is while others come: a
    case that trained the weights in use never judges those that follow. Only where no case would validate, the one with
    the smallest hash does. A label that was made with a model of another task does not count; one that was seen in part
    counts there, and as a whole once a reviewer has approved it.

    Args:
        datastore: Has images and labels.
        bundle: The model.
        models: All models by name.
    """
    parts: dict[str, list[LabelledCase]] = {"training": [], "validation": [], "calibration": []}
    labelled = sorted(datastore.get_labeled_images())
    scans = datastore.image_paths(labelled)  # at once: what has to be decoded takes far longer one by one
    for image in labelled:
        made_with = models.get(str(datastore.get_label_info(image, FINAL).get("model")))
        label = datastore.store.label(image, FINAL)
        if image not in scans or label is None or (made_with is not None and made_with.task != bundle.task):
            continue
        files = str(scans[image]), datastore.get_label_uri(image, FINAL)
        boxes = counting_boxes(datastore.get_label_info(image, FINAL))
        case = (image, *files, boxes, datastore.store.was_sent(label.version))
        parts[_part(image, datastore.get_image_info(image).get(PURPOSE))].append(case)
    training, validation = parts["training"], parts["validation"]
    if training and not validation:
        validation.append(training.pop(training.index(min(training, key=lambda case: _share(case[0])))))
    return LabelledCases(*(tuple(part) for part in (training, validation, parts["calibration"])))


def check_trainable(cases: LabelledCases, bundle: Bundle) -> None:
    """Raise `InputError` unless there is a case to train on and one to validate on, with labels of clear numbers."""
    if not (cases.training and cases.validation):
        count = len(cases.training) + len(cases.validation)
        raise InputError(
            f"{bundle.name}: training needs at least two images with a final label of the task '{bundle.task}', one of "
            f"them to validate on; there are {count}. Save more labels first."
        )
    check_numbers((*cases.training, *cases.validation), bundle)


def check_reserved(cases: LabelledCases, bundle: Bundle) -> None:
    """Raise `InputError` unless there are cases enough to calibrate on, with labels of clear numbers."""
    if (count := len(cases.calibration)) < FEWEST:
        raise InputError(
            f"{bundle.name}: {count} labelled images are reserved to calibrate it; {FEWEST} are needed. Choose "
            "them at random, not by their risk, and say so before they are labelled: PUT /datastore/image/info with "
            f'{{"{PURPOSE}": "calibration"}}'
        )
    check_numbers((*cases.calibration, *cases.validation), bundle)  # a map may be chosen on the latter


def check_numbers(cases: Iterable[LabelledCase], bundle: Bundle) -> None:
    """Refuse labels that were there before the model came, and that it might read as other structures than it shows."""
    if unclear := unclear_numbers([bundle]):
        for _, _, label, _, was_sent in cases:
            if not was_sent:
                check_by_hand(Path(label), unclear)


def _part(image: str, purpose: object) -> str:
    if purpose == "calibration":
        return "calibration"
    return "validation" if _share(image) < VALIDATION_SHARE else "training"


def _share(image: str) -> float:
    """A number from 0 to 1, evenly spread over ids."""
    return int(hashlib.sha256(image.encode()).hexdigest()[:8], 16) / 2**32
