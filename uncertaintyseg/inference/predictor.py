"""From a scan's file to a prediction on its own grid."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from uncertaintyseg import __version__
from uncertaintyseg.active.acquisition import entropy_near_foreground
from uncertaintyseg.data.geometry import resample, spacing_mm, voxel_volume_ml
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, Bundle
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.state import InferenceState
from uncertaintyseg.inference.window import MomentsInferer, WindowedOutput
from uncertaintyseg.logits import most_likely
from uncertaintyseg.logits.quadrature import default_nodes
from uncertaintyseg.measures import map_info, risk_maps
from uncertaintyseg.review.structures import structure_table
from uncertaintyseg.wire import Provenance

Progress = Callable[[str, float], None]
SAMPLES = 64
_MAX_VOXELS = 10**9
_FEATURE_BYTES = 2**31
"""Features of larger volumes are not kept: the volume interval is then null."""


class Predictor:
    """A bundle, loaded and ready for many scans.

    Args:
        bundle: or the path of its folder.
        device: torch device.

    Raises:
        BundleError: when the weights are missing or do not fit.
        InputError: for a device that this machine does not have.
    """

    def __init__(self, bundle: Bundle | str | os.PathLike[str], device: str = "cpu") -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        self.device = checked_device(device)
        self.network = self.bundle.network().to(self.device)
        self._preprocessing = self.bundle.preprocessing()
        self._spacing = tuple(self.bundle.setting("spacing"))
        self._window = tuple(self.bundle.setting("window"))
        self._overlap = float(self.bundle.setting("overlap"))

    def predict(
        self,
        image: str | os.PathLike[str],
        *,
        seed: int = 0,
        samples: int = SAMPLES,
        progress: Progress = lambda stage, fraction: None,
    ) -> Prediction:
        """Segment one scan. Same seed and device: the same result, bit for bit.

        Args:
            image: file, or folder of a DICOM series.
            seed: of the samples behind the volume interval; the maps have no randomness.
            samples: whole segmentations drawn for that interval, where the head has coherent ones.
            progress: called with a stage and the fraction done.

        Raises:
            InputError: for a scan that cannot be used.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "read"):
            progress("reading the scan", 0.0)
            scan = read_scan(image)
            self._check_size(scan)
            volume = self._preprocessing({"image": scan})["image"]
        with _timed(seconds, "network"):
            output = self._run(volume, lambda fraction: progress("running the network", 0.05 + 0.75 * fraction))
        with _timed(seconds, "samples"):
            progress("drawing plausible segmentations", 0.8)
            state, intervals, method = self._intervals(output, volume, samples, seed)
        with _timed(seconds, "maps"):
            progress("making the maps", 0.9)
            label, maps = self._on_scan_grid(output, volume, scan)
        affine = np.asarray(scan.affine, dtype=np.float64)
        with _timed(seconds, "review"):
            names = {item.name: maps[f"probability_{item.name}"] for item in self.bundle.labels}
            table = structure_table(
                label, names, maps["error_probability"], self.bundle.labels, voxel_volume_ml(affine), intervals, method
            )
            score = entropy_near_foreground(maps["predictive_entropy"], label, spacing_mm(affine))
        progress("done", 1.0)
        classes, source = len(self.bundle.labels) + 1, self.network.head.source
        provenance = self._provenance(seed, samples if intervals else None, seconds)
        info = {name: map_info(name, classes, source) for name in maps}
        return Prediction(label, affine, maps, info, table, provenance, score, state)

    def predict_folder(self, images: str | os.PathLike[str], output: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """Segment every scan of a folder into one folder each; for `python -m monai.bundle run`.

        Raises:
            InputError: for a folder without scans, or a scan that cannot be used.
        """
        return [self.predict(case.image).save(Path(output) / case.id) for case in read_cases(images)]

    def _check_size(self, scan: MetaTensor) -> None:
        extent = np.multiply(scan.shape[1:], spacing_mm(scan.affine))
        voxels = np.prod(extent / self._spacing)
        if voxels > _MAX_VOXELS:
            raise InputError(
                f"{scan.meta['filename_or_obj']}: {' x '.join(f'{side:.0f}' for side in extent)} mm is {voxels:.1e} "
                "voxels at this model's resolution. Are the voxel sizes in its header in mm? Correct them, or crop it."
            )

    def _run(self, volume: MetaTensor, progress: Callable[[float], None]) -> WindowedOutput:
        size = self.network.backbone.features * volume[0].numel() * 4
        keep = self.network.head.coherent and size <= _FEATURE_BYTES
        inferer = MomentsInferer(self._window, self._overlap, keep_features=keep, progress=progress)
        tensor = volume.as_tensor().to(self.device, torch.float32)[None]
        return inferer(tensor, self.network)

    def _intervals(
        self, output: WindowedOutput, volume: MetaTensor, samples: int, seed: int
    ) -> tuple[InferenceState | None, dict[int, tuple[float, float]] | None, str]:
        """Volume intervals from coherent samples, or the reason why there are none."""
        if not self.network.head.coherent:
            return None, None, f"none: the {self.bundle.head} head draws no whole shapes (its voxels share no noise)"
        if output.features is None:
            return None, None, "none: the volume is too large to keep its features"
        state = InferenceState.around_foreground(output.features, output.moments.probability)
        if state is None:
            return None, None, "none: no voxel is possibly foreground"
        generator = torch.Generator(self.device).manual_seed(seed)
        classes = len(self.bundle.labels) + 1
        draws = state.labels(self.network.head, samples, generator)
        counts = torch.stack([torch.bincount(draw.flatten(), minlength=classes) for draw in draws])
        volumes = counts.cpu().numpy() * voxel_volume_ml(volume.affine)
        low, high = np.percentile(volumes, [2.5, 97.5], axis=0)
        limits = {item.id: (float(low[item.id]), float(high[item.id])) for item in self.bundle.labels}
        return state, limits, f"2.5 to 97.5 % of {samples} whole segmentations drawn from the {self.bundle.head} head"

    def _on_scan_grid(
        self, output: WindowedOutput, volume: MetaTensor, scan: MetaTensor
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Label and maps, resampled together and once from the model's grid to the scan's."""
        with torch.inference_mode():
            maps = risk_maps(output.moments, [item.name for item in self.bundle.labels]) | output.maps
            stack = torch.cat(list(maps.values()), dim=1)[0]
            maps = dict(zip(maps, resample(stack, volume.affine, scan.affine, scan.shape[1:]), strict=True))
            structures = torch.stack([maps[f"probability_{item.name}"] for item in self.bundle.labels])
            background = (1 - structures.sum(0)).clamp_min_(0)  # 1 outside the field of view: no structure, no risk
            probability = torch.cat([background[None], structures])
            maps["error_probability"] = 1 - probability.amax(0)
            label = most_likely(probability).to(torch.uint8)
        return label.cpu().numpy(), {name: value.cpu().numpy() for name, value in maps.items()}

    def _provenance(self, seed: int, samples: int | None, seconds: dict[str, float]) -> Provenance:
        classes = len(self.bundle.labels) + 1
        quadrature = classes > 2 and self.bundle.head != "deterministic"
        return Provenance(
            model=self.bundle.name,
            head=self.bundle.head,
            weights_checksum=self.bundle.checksum,
            nodes=default_nodes(classes) if quadrature else None,
            samples=samples,
            seed=seed,
            window=self._window,
            overlap=self._overlap,
            device=self.device,
            dtype="float32",
            code_version=__version__,
            seconds={stage: round(value, 4) for stage, value in seconds.items()},
        )


def checked_device(name: str) -> str:
    """The name itself, when torch can compute there.

    Raises:
        InputError: when it cannot.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device '{name}' cannot be used here; use cpu, or cuda with a CUDA build of torch."
        ) from error
    return name


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def result_key(image: str | os.PathLike[str], bundle: Bundle, *, seed: int, samples: int, device: str) -> str:
    """Name of the result that `Predictor.predict` would give: a hash of everything it depends on (hex SHA-256).

    Raises:
        InputError: when the scan cannot be read.
    """
    parts = {
        "image": _content_hash(Path(image)),
        "weights": bundle.checksum,
        "model": bundle.name,
        "config": hashlib.sha256((bundle.folder / INFERENCE).read_bytes()).hexdigest(),
        "seed": seed,
        "samples": samples,
        "device": device,
        "dtype": "float32",
        "code": __version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder in name order."""
    digest = hashlib.sha256()
    try:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    return digest.hexdigest()
