"""Prompts of a request, by the names of structures and models, become those of a job."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from monailabel_app.app.models import Models
from monailabel_app.errors import NotFoundError
from monailabel_app.jobs.prompts import AskedFor
from uncertaintyseg.data.prompts import PromptBox, PromptPoint
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, Bundle
from uncertaintyseg.inference.methods import fits_as_prompter
from uncertaintyseg.wire import PromptRequest

if TYPE_CHECKING:
    from monailabel_app.app.infer_task import InferParams

_BACKGROUND = "background"


def asked_for(bundle: Bundle, params: InferParams, models: Models) -> AskedFor | None:
    """What a model is asked for; None of one that takes no prompts.

    Raises:
        InputError: for prompts to such a model, no prompt to one that needs some, or a structure that it does not have.
        NotFoundError: for a model that this server does not have.
    """
    said = params.prompts
    if not bundle.prompted:
        if said is not None or params.prompt_from or params.prompt_region:
            raise InputError(f"{bundle.name} has learnt what it segments and takes no prompts; correct its result")
        return None
    said = said or PromptRequest()
    if not (said.boxes or said.points or params.prompt_from or params.prompt_region):
        raise InputError(
            f"{bundle.name} segments what it is asked for: draw the region of interest around a structure and name "
            "that as prompt_region, place prompt points, choose a model as prompt_from, or send params.prompts with "
            "boxes or points"
        )
    ids = {_BACKGROUND: 0, **{label.name: label.id for label in bundle.labels}}
    names = [one.structure for one in (*said.boxes, *said.points)]
    unknown = [name for name in (*names, params.prompt_region) if name and name not in ids]
    if unknown:
        raise InputError(f"params.prompts: {bundle.name} has no structure {unknown[0]!r}; it has {', '.join(ids)}")
    other = _other(bundle, params.prompt_from, models)
    boxes = [PromptBox(ids[box.structure], box.first, box.last) for box in said.boxes]
    if params.prompt_region:
        if params.roi is None:
            raise InputError("params.prompt_region: there is no region of interest; draw one, or send it as params.roi")
        first, last = zip(*((low, end - 1) for low, end in params.roi), strict=True)
        boxes.append(PromptBox(ids[params.prompt_region], first, last))
    return AskedFor(
        tuple(boxes),
        tuple(PromptPoint(ids[point.structure], point.voxel) for point in said.points),
        params.prompt_plane,
        params.prompt_margin,
        other and str(other.folder),
        other.checksum if other else "",
        _meaning(other) if other else "",
    )


def _other(bundle: Bundle, name: str | None, models: Models) -> Bundle | None:
    if not name:
        return None
    found = models.get(name)
    if found is None:
        raise NotFoundError(f"params.prompt_from: no model {name!r} on this server")
    if not fits_as_prompter(found, bundle):
        raise InputError(
            f"params.prompt_from: {name} finds none of the structures of {bundle.name} by itself; /info lists the "
            "models that do"
        )
    return found


def _meaning(other: Bundle) -> str:
    """Weights that were imported twice may have other names of structures, or other windows."""
    said = [
        other.name,
        [[label.id, label.name] for label in other.labels],
        (other.folder / INFERENCE).read_text("utf-8"),
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
