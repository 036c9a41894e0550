"""plans.json of nnU-Net v2: one of its configurations, resolved and checked (NETWORKS 1.3, 1.6, 1.11).

Older plans are brought to the form that nnU-Net writes since version 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from uncertaintyseg.errors import BundleError

Triple = tuple[int, int, int]
Scheme = Literal[
    "CTNormalization", "ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization"
]
READERS = {
    "SimpleITKIO": False,
    "NibabelIO": False,
    "SimpleITKIOWithReorient": True,
    "NibabelIOWithReorient": True,
}
"""Known readers, and whether they turn an image to RAS first; the others keep the order in which it is stored."""
_TOOLKIT = "resample_data_or_seg_to_shape"
_TORCH = "resample_torch_fornnunet"


class _Checked(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Resampling(_Checked):
    """How voxels are brought from one spacing to another.

    Attributes:
        function: one of the two that nnU-Net has.
        order: of the spline; the second function is always linear.
        force_separate_z: whether the axis of the largest spacing is treated by itself; None leaves it to the spacings.
    """

    function: Literal["resample_data_or_seg_to_shape", "resample_torch_fornnunet"] = _TOOLKIT
    order: int = Field(3, ge=0, le=5)
    order_z: Literal[0] = 0
    force_separate_z: bool | None = False
    separate_z_anisotropy_threshold: float = 3.0
    mode: Literal["linear"] = "linear"
    aniso_axis_mode: Literal["nearest-exact"] = "nearest-exact"


class Intensities(_Checked):
    """What the foreground of the training scans looked like in one channel."""

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float
    median: float | None = None


class Configuration(_Checked):
    """One configuration of the plans, as far as inference goes.

    Attributes:
        patch_size: of a window, in voxels.
        spacing: of the model's grid, mm.
        transpose_forward: axes of the stored array (z, y, x) that those of the model's grid run along.
        normalization_schemes: one for each channel.
        use_mask_for_norm: whether a channel is normalised within its non-zero part alone.
        architecture: as nnU-Net 2.4 and later write it.
        intensities: one for each channel, where the plans know them.
    """

    name: str
    image_reader_writer: str
    patch_size: Triple
    spacing: tuple[float, float, float]
    transpose_forward: Triple
    normalization_schemes: list[Scheme]
    use_mask_for_norm: list[bool]
    architecture: dict[str, Any]
    intensities: dict[str, Intensities] = {}
    data: Resampling
    segmentation: Resampling
    probabilities: Resampling

    @property
    def to_ras(self) -> bool:
        """Whether scans are turned to RAS before anything else."""
        return READERS[self.image_reader_writer]

    @model_validator(mode="after")
    def _fits_together(self) -> Configuration:
        if sorted(self.transpose_forward) != [0, 1, 2]:
            raise ValueError("'transpose_forward' must be an order of the axes 0, 1, 2")
        if min(*self.patch_size, *self.spacing) <= 0:
            raise ValueError("patch and spacing must be positive")
        if len(self.use_mask_for_norm) != len(self.normalization_schemes):
            raise ValueError("'use_mask_for_norm' and 'normalization_schemes' differ in length")
        for channel, scheme in enumerate(self.normalization_schemes):
            if scheme == "CTNormalization" and str(channel) not in self.intensities:
                raise ValueError(f"CTNormalization needs the intensities of channel {channel}, which are missing")
        if self.probabilities.function == _TOOLKIT and self.probabilities.order != 1:
            raise ValueError("probabilities are resampled with another order than 1, which no plans of nnU-Net have")
        return self


def read_configuration(plans: Mapping[str, Any], name: str) -> Configuration:
    """The configuration called `name`.

    Raises:
        BundleError: for plans of an unknown version, an unknown configuration, or one that cannot be imported.
    """
    configurations = plans.get("configurations")
    if not isinstance(configurations, Mapping) or "transpose_forward" not in plans:
        raise BundleError(
            "plans.json is not one of nnU-Net v2: it has no 'configurations'. Plans of version 1 (.pkl) have to be "
            "trained again with version 2."
        )
    found = _inherited(configurations, name)
    if found.get("previous_stage"):
        raise BundleError(
            f"'{name}' is a cascade: it needs the labels of '{found['previous_stage']}' as input. Import 3d_fullres or "
            "3d_lowres."
        )
    if len(found.get("patch_size", ())) == 2:
        raise BundleError(f"'{name}' is a 2D configuration of a 3D task: import 3d_fullres or 3d_lowres.")
    _check_names(plans, found)
    fields = {key: found.get(key) for key in ("patch_size", "spacing", "normalization_schemes", "use_mask_for_norm")}
    fields |= {key: plans.get(key) for key in ("transpose_forward", "image_reader_writer")}
    fields |= {"architecture": _architecture(found), "intensities": _intensities(plans), "name": name}
    for key, plural in (("data", "data"), ("segmentation", "seg"), ("probabilities", "probabilities")):
        options = found.get(f"resampling_fn_{plural}_kwargs") or {}
        fields[key] = {"function": found.get(f"resampling_fn_{plural}", _TOOLKIT), **options}
    try:
        return Configuration.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or name
        message = first["msg"].removeprefix("Value error, ")
        raise BundleError(f"plans.json, configuration '{name}', '{field}': {message}.") from error


def _inherited(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    chain, found = [name], {}
    while True:
        own = configurations.get(chain[-1])
        if not isinstance(own, Mapping):
            known = ", ".join(map(str, configurations)) or "none"
            raise BundleError(f"plans.json has no configuration '{chain[-1]}'; it has {known}.")
        found = deepcopy(dict(own)) | found
        parent = own.get("inherits_from")
        if parent is None:
            return found
        if parent in chain:
            raise BundleError(f"plans.json: '{' inherits from '.join([*chain, str(parent)])}', which has no end.")
        chain.append(parent)


def _check_names(plans: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse by name what is not known: nnU-Net would look these names up and run what it finds."""
    known = {
        "image_reader_writer": (plans, READERS),
        "label_manager": (plans, ("LabelManager",)),
        "preprocessor_name": (found, ("DefaultPreprocessor",)),
        **{f"resampling_fn_{kind}": (found, (_TOOLKIT, _TORCH)) for kind in ("data", "seg", "probabilities")},
    }
    for key, (where, names) in known.items():
        value = where.get(key)
        if value is not None and value not in names:
            raise BundleError(
                f"plans.json: '{key}' is {value!r}; known are {', '.join(names)}. This network was made with an "
                "extension of nnU-Net that is not supported."
            )
    schemes = found.get("normalization_schemes") or []
    unknown = [scheme for scheme in schemes if scheme not in Scheme.__args__]
    if unknown:
        raise BundleError(
            f"plans.json: the normalisation {unknown[0]!r} is not known; known are {', '.join(Scheme.__args__)}."
        )


def _intensities(plans: Mapping[str, Any]) -> dict[str, Any]:
    per_channel = plans.get("foreground_intensity_properties_per_channel")
    by_modality = plans.get("foreground_intensity_properties_by_modality")
    return dict(per_channel or by_modality or {})


def _architecture(found: Mapping[str, Any]) -> dict[str, Any]:
    """The "architecture" of a configuration, also where older plans spread it out."""
    if "architecture" in found:
        return found["architecture"]
    if "UNet_class_name" not in found:
        raise BundleError("plans.json: the configuration has no 'architecture', so its version is not known.")
    kind = found["UNet_class_name"]
    try:
        convolutions = found["n_conv_per_stage_encoder"]
        base, most = found["UNet_base_num_features"], found["unet_max_num_features"]
        return {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
            "arch_kwargs": {
                "n_stages": len(convolutions),
                "features_per_stage": [min(base * 2**stage, most) for stage in range(len(convolutions))],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": found["conv_kernel_sizes"],
                "strides": found["pool_op_kernel_sizes"],
                "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage": convolutions,
                "n_conv_per_stage_decoder": found["n_conv_per_stage_decoder"],
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
        }
    except (KeyError, TypeError) as error:
        raise BundleError(f"plans.json: its architecture, as written before nnU-Net 2.4, lacks {error}.") from error
