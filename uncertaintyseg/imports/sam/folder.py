"""What a folder of SAM holds: its family, its configuration and its network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn

from uncertaintyseg.backbones.sam import FAMILIES
from uncertaintyseg.imports import hugging_face

KINDS = {"sam": "sam", "sam2": "sam2", "sam2_video": "sam2"}
"""Family of each `model_type`; published files of SAM 2 say that they are of video, and hold that of images too."""
_VIDEO = re.compile(r"memory_|mask_downsample|object_pointer|temporal_positional|no_memory_pos|no_object|occlusion")
_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config", "initializer_range")


def read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """Family and configuration of a folder.

    Raises:
        BundleError: as `hugging_face.read_config`.
    """
    found = hugging_face.read_config(folder, {kind: FAMILIES[family].title for kind, family in KINDS.items()})
    return KINDS[found["model_type"]], {name: found[name] for name in _PARTS if name in found}


def read_network(folder: Path, family: str) -> nn.Module:
    """The model of a folder with its weights.

    Raises:
        BundleError: as `hugging_face.read_network`.
        InputError: where `transformers` is missing.
    """
    return hugging_face.read_network(folder, FAMILIES[family].model, FAMILIES[family].title, _VIDEO)
