"""Folders as `transformers` writes them, of SAMs of a few thousand random numbers. They say nothing about SAM."""

from __future__ import annotations

from pathlib import Path

import torch

from uncertaintyseg.backbones.hugging_face import transformers_class
from uncertaintyseg.backbones.sam import FAMILIES

SIZE = 64
CONFIGS = {
    "sam": {
        "vision_config": {
            "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": SIZE, "patch_size": 8, "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8,
            "mlp_dim": 32,
        },
        "prompt_encoder_config": {"hidden_size": 16, "image_size": SIZE, "patch_size": 8, "mask_input_channels": 8},
        "mask_decoder_config": {
            "hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
        },
    },
    "sam2": {
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [SIZE, SIZE],
                "embed_dim_per_stage": [8, 16, 32, 64], "blocks_per_stage": [1, 1, 2, 1],
                "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [4, 4, 2, 2],
                "global_attention_blocks": [3], "window_positional_embedding_background_size": [2, 2],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
        },
        "prompt_encoder_config": {"hidden_size": 16, "image_size": SIZE, "patch_size": 16, "mask_input_channels": 8},
        "mask_decoder_config": {
            "hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
        },
    },
}  # fmt: skip


def network(family: str, seed: int = 0) -> torch.nn.Module:
    """A SAM of `transformers`, all of whose tensors are random, so that none of them goes unnoticed."""
    kind = FAMILIES[family]
    made = transformers_class(kind.model)(transformers_class(kind.config)(**CONFIGS[family])).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in (*made.named_parameters(), *made.named_buffers()):  # of SAM 2 some buffers are drawn anew
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            value.copy_(centre + 0.3 * torch.randn(value.shape, generator=generator))
    return made


def write_folder(folder: Path, family: str, seed: int = 0) -> Path:
    """A folder with config.json and model.safetensors."""
    network(family, seed).save_pretrained(folder)
    return folder
