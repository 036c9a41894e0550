"""Somebody else's encoder out of a folder, to be put below a decoder of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from uncertaintyseg.backbones.encoder import ENCODERS, Encoder
from uncertaintyseg.imports.checkpoint import file_sha256
from uncertaintyseg.imports.hugging_face import read_config, read_network
from uncertaintyseg.imports.names import plain

_BEYOND = re.compile(r"(.*\.)?(pooler|(cls_|distillation_)?classifier|decoder|lm_head)\.|.*mask_token$")
"""Tensors of what comes after an encoder, or served its training: they are left out."""


class FoundEncoder(NamedTuple):
    """An encoder with its weights.

    Attributes:
        encoder: ready to run.
        settings: what makes it: "kind" and "config".
        origin: "folder" (its name), "kind" and "sha256" of its files of weights.
    """

    encoder: Encoder
    settings: Mapping[str, Any]
    origin: Mapping[str, Any]


def read_encoder(folder: Path) -> FoundEncoder:
    """The encoder of a folder as `transformers` writes them: config.json and model.safetensors.

    Raises:
        BundleError: for a folder without them, of another network, with pickles, or with weights of another network.
        InputError: where `transformers` is missing.
    """
    found = read_config(folder, {name: kind.title for name, kind in ENCODERS.items()})
    kind = found.pop("model_type")
    encoder, about = Encoder(kind, found), ENCODERS[kind]
    how = {"add_pooling_layer": False} if about.pooler else {}
    network = read_network(folder, about.model, about.title, _BEYOND, **how)
    encoder.model.load_state_dict(network.state_dict())
    origin = {
        "folder": plain(folder.resolve().name, "folder"), "kind": about.title,
        "sha256": [file_sha256(path) for path in sorted(folder.glob("*.safetensors"))],
    }  # fmt: skip
    return FoundEncoder(encoder, {"kind": kind, "config": found}, origin)
