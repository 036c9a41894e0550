"""What an nnU-Net's plans say of its network, as arguments of our backbone: numbers, and names from a list.

nnU-Net looks the names in plans up as code and runs what it finds; here a name counts only if it is in a list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from uncertaintyseg.errors import BundleError

_HOME = "dynamic_network_architectures.architectures."
NETWORKS = {
    f"{_HOME}unet.PlainConvUNet": "PlainConvUNet",
    f"{_HOME}unet.ResidualEncoderUNet": "ResidualEncoderUNet",
    f"{_HOME}residual_unet.ResidualEncoderUNet": "ResidualEncoderUNet",
}
"""Networks that can be imported; the last name is one of old, of the same network."""
_TRAINER = re.compile(
    r"nnUNetTrainer(?P<norm>BN)?"
    r"(?:_?(?:\d+ep(?:och)?s?|NoMirroring|onlyMirror01|NoDA|DA5(?:Segord0|ord0)?|DASegOrd0|noDummy2DDA|warmup|CosAnneal"
    r"|NoDeepSupervision|probabilisticOversampling(?:_0\d\d)?|(?:Vanilla)?Adam(?:\den\d)?|Adan(?:\den\d)?"
    r"|CELoss|DiceCELoss|DiceLoss|noSmooth|(?:Dice)?Top[kK]10Loss(?:LS01)?))*"
)
"""Trainers that come with nnU-Net and TotalSegmentator and build the network of the plans, "BN" with another norm."""

Triple = tuple[int, int, int]
_OPERATIONS = {
    "conv_op": ("Conv3d",),
    "norm_op": ("InstanceNorm3d", "BatchNorm3d"),
    "dropout_op": ("Dropout3d", "Dropout"),
    "nonlin": ("LeakyReLU", "ReLU", "ELU", "GELU", "SiLU", "Mish", "PReLU"),
}
_OPTION_NAMES = {"eps", "momentum", "affine", "track_running_stats", "inplace", "negative_slope", "p", "alpha"}
_PER_STAGE = ("kernel_sizes", "strides", "blocks", "features_per_stage")


class Architecture(BaseModel):
    """Arguments of `UNetBackbone`, which are those of the network; names of operations are those of `torch.nn`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["PlainConvUNet", "ResidualEncoderUNet"]
    features_per_stage: list[int] = Field(min_length=2)
    kernel_sizes: list[Triple]
    strides: list[Triple]
    blocks: list[int]
    decoder_blocks: list[int]
    conv_bias: bool = False
    norm_op: Literal["InstanceNorm3d", "BatchNorm3d"] | None = None
    norm_options: dict[str, bool | float] = {}
    dropout_op: Literal["Dropout3d", "Dropout"] | None = None
    dropout_options: dict[str, bool | float] = {}
    nonlin: Literal["LeakyReLU", "ReLU", "ELU", "GELU", "SiLU", "Mish", "PReLU"] | None = None
    nonlin_options: dict[str, bool | float] = {}
    nonlin_first: bool = False
    stem_channels: int | None = None

    @field_validator("norm_options", "dropout_options", "nonlin_options")
    @classmethod
    def _known_options(cls, options: dict[str, bool | float]) -> dict[str, bool | float]:
        if unknown := sorted(set(options) - _OPTION_NAMES):
            raise ValueError(f"the option '{unknown[0]}' is not known")
        return options

    @model_validator(mode="after")
    def _one_for_each_stage(self) -> Architecture:
        stages = len(self.features_per_stage)
        if any(len(getattr(self, name)) != stages for name in _PER_STAGE) or len(self.decoder_blocks) != stages - 1:
            raise ValueError(f"{stages} stages need as many sizes in each list, and {stages - 1} decoder blocks")
        numbers = [*self.features_per_stage, *self.blocks, *self.decoder_blocks]
        if min(*numbers, *(n for row in [*self.kernel_sizes, *self.strides] for n in row)) < 1:
            raise ValueError("sizes must be positive")
        return self


def read_architecture(architecture: Mapping[str, Any], trainer: str) -> Architecture:
    """The network of a configuration as its trainer built it.

    Raises:
        BundleError: for a network or a trainer that is not known, or arguments that are not.
    """
    known_trainer = _TRAINER.fullmatch(trainer)
    if known_trainer is None:
        raise BundleError(
            f"the trainer {trainer!r} is not known, and it may build another network than the plans say. Known are "
            "those that come with nnU-Net v2 (nnUNetTrainer, nnUNetTrainerNoMirroring, nnUNetTrainer_250epochs, ...)."
        )
    name = architecture.get("network_class_name")
    if name not in NETWORKS:
        raise BundleError(f"plans.json: the network {name!r} cannot be imported; {' and '.join(_kinds())} can.")
    given = dict(architecture.get("arch_kwargs") or {})
    if known_trainer["norm"]:
        given |= {"norm_op": "torch.nn.BatchNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
    for operation, allowed in _OPERATIONS.items():
        if given.get(operation) is not None:
            given[operation] = _operation(operation, given[operation], allowed)
    if given.pop("conv_op", "Conv3d") != "Conv3d":
        raise BundleError("plans.json: 'conv_op' must be Conv3d.")
    stages = given.pop("n_stages", None)
    blocks = "n_conv_per_stage" if NETWORKS[name] == "PlainConvUNet" else "n_blocks_per_stage"
    renamed = {
        blocks: "blocks", "n_conv_per_stage_decoder": "decoder_blocks", "norm_op_kwargs": "norm_options",
        "dropout_op_kwargs": "dropout_options", "nonlin_kwargs": "nonlin_options",
    }  # fmt: skip
    fields = {renamed.get(key, key): value for key, value in given.items() if value is not None}
    fields.pop("deep_supervision", None)
    try:
        return Architecture.model_validate({"kind": NETWORKS[name]} | _spread(fields, stages))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "arch_kwargs"
        message = first["msg"].removeprefix("Value error, ")
        raise BundleError(f"plans.json, architecture, '{field}': {message}.") from error


def _operation(key: str, value: object, allowed: tuple[str, ...]) -> str:
    """The bare name of a module of `torch.nn`, by which it may be called in several ways."""
    found = re.fullmatch(r"torch\.nn(?:\.modules\.\w+)?\.(\w+)", str(value))
    if found is None or found[1] not in allowed:
        raise BundleError(f"plans.json: '{key}' is {value!r}; of torch.nn {', '.join(allowed)} can be imported.")
    return found[1]


def _spread(fields: dict[str, Any], stages: object) -> dict[str, Any]:
    """Single numbers in place of lists, which nnU-Net allows, spread over stages and axes."""
    found = dict(fields)
    if not isinstance(stages, int):
        return found
    for key, length in (*((name, stages) for name in _PER_STAGE), ("decoder_blocks", stages - 1)):
        if isinstance(found.get(key), int):
            found[key] = [found[key]] * length
    for key in ("kernel_sizes", "strides"):
        if isinstance(found.get(key), list):
            found[key] = [[row] * 3 if isinstance(row, int) else row for row in found[key]]
    return found


def _kinds() -> list[str]:
    return sorted(set(NETWORKS.values()))
