"""Folders as `transformers` writes them, of encoders of a few thousand random numbers. They say nothing about any."""

from __future__ import annotations

from pathlib import Path

import torch

from uncertaintyseg.backbones.encoder import ENCODERS
from uncertaintyseg.backbones.hugging_face import transformers_class

_TOKENS = {
    "hidden_size": 16, "num_hidden_layers": 5, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
_STAGES = {"depths": [1, 2, 1, 1], "hidden_sizes": [8, 16, 24, 24]}
CONFIGS = {
    "vit": _TOKENS,
    "deit": _TOKENS,
    "beit": _TOKENS | {"use_relative_position_bias": True},
    "dinov2": _TOKENS,
    "dinov2_with_registers": _TOKENS,
    "swin": {
        "embed_dim": 8, "depths": [1, 1, 2], "num_heads": [2, 2, 2], "window_size": 2, "image_size": 32,
        "patch_size": 4,
    },
    "resnet": _STAGES | {"embedding_size": 8, "layer_type": "basic"},
    "convnext": _STAGES,
}  # fmt: skip


def network(kind: str, seed: int = 0, **config: object) -> torch.nn.Module:
    """An encoder of `transformers`, all of whose tensors are random, so that none of them goes unnoticed."""
    about = ENCODERS[kind]
    made = transformers_class(about.model)(transformers_class(about.config)(**CONFIGS[kind] | config)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in made.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            value.copy_(centre + 0.2 * torch.randn(value.shape, generator=generator))
    return made


def write_folder(folder: Path, kind: str, seed: int = 0, **config: object) -> Path:
    """A folder with config.json and model.safetensors."""
    network(kind, seed, **config).save_pretrained(folder)
    return folder
