"""MONAI Label's own chain on the network of one of our bundles: what a user of its radiology app runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.inferers import Inferer, SlidingWindowInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    DeleteItemsd,
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    Resized,
    ScaleIntensityRanged,
    Spacingd,
    SqueezeDimd,
)
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.tasks.infer.basic_infer import BasicInferTask
from torch import Tensor, nn

from uncertaintyseg.inference.bundle import Bundle


class Logits(nn.Module):
    """Backbone and output layer as a plain network: image to logits."""

    def __init__(self, bundle: Bundle, dropout: float = 0.0) -> None:
        super().__init__()
        segmenter = bundle.network()
        self.backbone, self.output = segmenter.backbone, segmenter.head.mean
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, image: Tensor) -> Tensor:
        """`[B, 1, *spatial]` to `[B, C, *spatial]`."""
        return self.output(self.dropout(self.backbone(image)))


class StockTask(BasicInferTask):
    """`BasicInferTask` with the transforms that its radiology configurations share, at the bundle's spacing and window.

    Args:
        bundle: of ours; its head's noise is left out.
        simulation: for scoring: dropout stays on, and probabilities are returned instead of a file.
    """

    def __init__(self, bundle: Bundle, *, simulation: bool = False) -> None:
        self.spacing = bundle.setting("spacing")
        super().__init__(
            path=None,
            network=Logits(bundle, dropout=0.2 if simulation else 0.0),
            type=InferType.SEGMENTATION,
            labels={item.name: item.id for item in bundle.labels},
            dimension=3,
            description="stock",
            roi_size=tuple(bundle.setting("window")),
            train_mode=simulation,
            skip_writer=simulation,
            config={"device": "cpu", "sw_overlap": bundle.setting("overlap")},
        )
        self.simulation = simulation

    def pre_transforms(self, data: dict[str, Any] | None = None) -> Sequence[Callable]:
        """Read, orient, resample, scale."""
        return [
            DeleteItemsd(keys="image_path"),  # MONAI 1.6's Spacingd takes it for metadata and fails
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            Orientationd(keys="image", axcodes="RAS"),
            Spacingd(keys="image", pixdim=self.spacing, allow_missing_keys=True),
            ScaleIntensityRanged(keys="image", a_min=-160, a_max=240, b_min=-2, b_max=2, clip=True),
        ]

    def inferer(self, data: dict[str, Any] | None = None) -> Inferer:
        """Windows also for a scan smaller than one, which the network's strides need."""
        return SlidingWindowInferer(self.roi_size, overlap=self._config["sw_overlap"])

    def post_transforms(self, data: dict[str, Any] | None = None) -> Sequence[Callable]:
        """Softmax; for an answer also the most likely class in the scan's size (their own transform for it needs
        torchvision, which has no build for the CPU torch; it is the same `Resize`).
        """
        if self.simulation:
            return [Activationsd(keys="pred", softmax=True)]
        size = [int(n) for n in data["image"].meta["spatial_shape"]]
        return [
            Activationsd(keys="pred", softmax=True),
            AsDiscreted(keys="pred", argmax=True),
            Resized(keys="pred", spatial_size=size, mode="nearest"),
            SqueezeDimd(keys="pred"),
        ]
