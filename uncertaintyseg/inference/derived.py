"""What a model that only adds a head takes from its base: names for its configuration (docs/adr/0013)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle

if TYPE_CHECKING:
    from monai.transforms import Compose

    from uncertaintyseg.backbones import Backbone

BACKBONE = f"{__name__}.backbone_of_base"
PREPROCESSING = f"{__name__}.preprocessing_of_base"


def backbone_of_base(folder: str) -> Backbone:
    """The backbone of the base of the model in `folder`, with its weights; it has to stay as it is."""
    return _base(folder).network().backbone.requires_grad_(False)


def preprocessing_of_base(folder: str) -> Compose:
    """The preprocessing of the base of the model in `folder`."""
    return _base(folder).preprocessing()


def _base(folder: str) -> Bundle:
    base = Bundle.load(folder).base
    if base is None:
        raise BundleError(f"{folder} names no base in its metadata, whose network it could use.")
    return base
