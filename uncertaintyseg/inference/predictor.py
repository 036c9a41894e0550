"""From a scan's file to a prediction on its own grid."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from uncertaintyseg import __version__
from uncertaintyseg.active.acquisition import case_scores
from uncertaintyseg.data.geometry import covers, resample, spacing_mm, voxel_volume_ml
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.features import pooled_features
from uncertaintyseg.inference.methods import ensemble_members, make_passes, model_with, options_of
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.shapes import ShapeSpread, shape_spread
from uncertaintyseg.inference.state import InferenceState
from uncertaintyseg.inference.thresholding import THRESHOLDS, label_at
from uncertaintyseg.inference.window import MomentsInferer, WindowedOutput, halved
from uncertaintyseg.logits import Moments, most_likely
from uncertaintyseg.logits.quadrature import default_nodes
from uncertaintyseg.measures import map_info, predictive_entropy, risk_maps
from uncertaintyseg.review.calibration import Calibration
from uncertaintyseg.review.coverage import review_curve
from uncertaintyseg.review.promise import promised
from uncertaintyseg.review.regions import regions
from uncertaintyseg.review.structures import structure_table
from uncertaintyseg.segmenter import Network
from uncertaintyseg.wire import MapInfo, Provenance, Source

Progress = Callable[[str, float], None]
SAMPLES = 64
_MAX_VOXELS = 10**9
_FEATURE_BYTES = 2**31
"""Features of larger volumes are not kept: the volume interval is then null."""
_DRAWN, _FEWEST = 2**27, 16
"""Voxels x draws at most, so that shapes of a large region take no longer than its network; never fewer draws."""


class Predictor:
    """A bundle, loaded and ready for many scans.

    Args:
        bundle: or the path of its folder.
        device: torch device.
        method: passes to run it with (`inference.passes`); None runs it once, as it is.
        options: of these passes.
        others: further bundles of the same task and grid, for the passes "ensemble".
        crf: draws labels of neighbours that look alike together, on the model's grid; it leaves one answer, so variance
            and mutual information are 0 after it.
        threshold: how the label is cut from the foreground probability (`inference.thresholding`); None takes the most
            likely class.
        halvings: how often the windows are halved, where the model's own need more memory than there is.

    Raises:
        BundleError: when the weights are missing or do not fit, or another bundle has another grid or task.
        InputError: for a device that this machine does not have, or a method or option that does not exist.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        device: str = "cpu",
        *,
        method: str | None = None,
        options: Mapping[str, Any] | None = None,
        others: Sequence[Bundle] = (),
        crf: CRF | None = None,
        threshold: str | None = None,
        halvings: int = 0,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        self.device = checked_device(device)
        self.method = method
        self.options = options_of(self.bundle, method, options or {}) if method else dict(options or {})
        self.crf, self.threshold = crf, threshold
        if threshold is not None and threshold not in THRESHOLDS:
            raise InputError(f"there is no threshold '{threshold}'; there are {', '.join(THRESHOLDS)}.")
        self.network = self.bundle.network().to(self.device)
        self._preprocessing = self.bundle.preprocessing()
        self._spacing = tuple(self.bundle.setting("spacing"))
        self._window = halved(self.bundle.setting("window"), self.network.divisor, halvings)
        self._overlap = float(self.bundle.setting("overlap"))
        self._runner: Network = self.network
        if method:
            members = [self._member(other) for other in others]
            self._runner = make_passes(
                method, self.network, spacing=self._spacing, options=self.options, others=members
            )
            self.options |= {"models": [other.name for other in others]} if others else {}

    @property
    def title(self) -> str:
        """Model and method, for people."""
        return f"{self.bundle.name} with {self.method}" if self.method else self.bundle.name

    @property
    def calibration(self) -> tuple[Calibration | None, str | None]:
        """What is known of the error probability on calibration cases; or None, and why that does not hold here."""
        params = self._params()
        if params:
            return None, f"uncalibrated: the model was calibrated as it is, not with {', '.join(params)}"
        found, reason = self.bundle.calibration
        if found and (found.window, found.overlap) != (tuple(self._window), self._overlap):
            return None, "uncalibrated: the model was calibrated with other windows"
        return found, reason

    def _member(self, other: Bundle) -> Network:
        """The network of another bundle, which must see what this one sees."""
        if other.labels != self.bundle.labels:
            raise BundleError(f"{other.name} has other labels than {self.bundle.name}: no ensemble of the two.")
        for name in ("spacing", "window", "preprocessing"):
            if other.setting(name) != self.bundle.setting(name):
                raise BundleError(f"{other.name} has another '{name}' than {self.bundle.name}: no ensemble of the two.")
        return other.network().to(self.device)

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
            samples: whole segmentations drawn for that interval, where the head has coherent ones; fewer, but 16 or
                more, in a region of over two million voxels.
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
        with _timed(seconds, "network"), pooled_features(self.network.backbone) as features:
            output = self._run(volume, lambda fraction: progress("running the network", 0.05 + 0.75 * fraction))
        if self.crf:
            with _timed(seconds, "crf"):
                progress("drawing neighbours together", 0.8)
                output = output._replace(moments=self._drawn_together(output.moments, volume))
        with _timed(seconds, "samples"):
            progress("drawing plausible segmentations", 0.8)
            state, spread, method = self._spread(output, volume, samples, seed)
        with _timed(seconds, "maps"):
            progress("making the maps", 0.9)
            label, maps = self._on_scan_grid(output, volume, scan)
            calibration, uncalibrated = self.calibration
            if calibration:
                maps["error_probability"] = calibration.recalibrated(maps["error_probability"])
        affine = np.asarray(scan.affine, dtype=np.float64)
        with _timed(seconds, "review"):
            names = {item.name: maps[f"probability_{item.name}"] for item in self.bundle.labels}
            error, labels, valid = maps["error_probability"], self.bundle.labels, maps.get("valid")
            table = structure_table(
                label, names, error, labels, voxel_volume_ml(affine), spread and spread.limits, method, valid=valid
            )
            places = regions(label, error, names, labels, affine)
            scores = case_scores(maps, label, spacing_mm(affine), table, spread and spread.dice)
            promise, reason = promised(calibration, uncalibrated)
            also = promise and promise.threshold
            curve = review_curve(error, voxel_volume_ml(affine), calibration, also=also, valid=valid)
        progress("done", 1.0)
        provenance = self._provenance(seed, spread.count if spread else None, calibration, seconds)
        info = self._map_info(maps, calibration is not None)
        score = scores["predictive_entropy"]
        return Prediction(
            label, affine, maps, info, table, provenance, score, state, regions=places, case_scores=scores,
            features=features.vector, risk_coverage=curve, guarantee=promise, guarantee_reason=reason,
        )  # fmt: skip

    def samples(self, prediction: Prediction, count: int, seed: int = 0) -> Iterator[np.ndarray]:
        """Draw whole segmentations behind one of this predictor's predictions, without running the network again.

        Args:
            prediction: with a state.
            count: how many.
            seed: of the draws; that of the prediction gives those behind its volume interval.

        Returns:
            uint8 `[*S]` on the scan's grid, one at a time.

        Raises:
            InputError: when the prediction has no whole shapes; the message says why.
        """
        if prediction.state is None:
            reason = prediction.structures[0].interval_method.removeprefix("none: ")
            raise InputError(f"no whole segmentations can be drawn: {reason}.")
        generator = torch.Generator(self.device).manual_seed(seed)
        shape, head = prediction.label.shape, self.network.head
        return prediction.state.labels_on(prediction.affine, shape, head, count, generator)

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
        keep = not (self.method or self.crf) and self.network.head.coherent and size <= _FEATURE_BYTES
        inferer = MomentsInferer(self._window, self._overlap, keep_features=keep, progress=progress)
        tensor = volume.as_tensor().to(self.device, torch.float32)[None]
        return inferer(tensor, self._runner)

    def _drawn_together(self, moments: Moments, volume: MetaTensor) -> Moments:
        """Moments after the CRF; its unary is softened where the model's own entropy is high."""
        with torch.inference_mode():
            image = volume.as_tensor().to(moments.probability)[None]
            p = moments.probability
            return Moments.of_probability(self.crf(p, image, self._spacing, predictive_entropy(p)))

    def _spread(
        self, output: WindowedOutput, volume: MetaTensor, samples: int, seed: int
    ) -> tuple[InferenceState | None, ShapeSpread | None, str]:
        """Volume intervals and Dice from coherent samples, or the reason why there are none."""
        if self.crf:
            return None, None, "none: a CRF leaves one answer"
        if self.method:
            return None, None, f"none: {self.method} keeps the moments of its passes, not their shapes"
        if not self.network.head.coherent:
            return None, None, f"none: the {self.bundle.head} head draws no whole shapes (its voxels share no noise)"
        if output.features is None:
            return None, None, "none: the volume is too large to keep its features"
        state = InferenceState.around_foreground(output.features, output.moments.probability, volume.affine)
        if state is None:
            return None, None, "none: no voxel is possibly foreground"
        generator = torch.Generator(self.device).manual_seed(seed)
        label = most_likely(output.moments.probability)[(0, *state.region)]
        count = min(samples, max(_DRAWN // label.numel(), _FEWEST))
        draws = state.labels(self.network.head, count, generator)
        spread = shape_spread(draws, label, self.bundle.labels, voxel_volume_ml(volume.affine))
        return state, spread, f"2.5 to 97.5 % of {count} whole segmentations drawn from the {self.bundle.head} head"

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
            label = self._label(probability)
            maps["error_probability"] = 1 - probability.gather(0, label[None])[0]
            if not covers(volume.affine, volume.shape[1:], scan.affine, scan.shape[1:]):
                seen = torch.ones((1, *volume.shape[1:]), dtype=torch.uint8, device=stack.device)
                valid = resample(seen, volume.affine, scan.affine, scan.shape[1:], nearest=True)[0]
                maps |= {} if valid.all() else {"valid": valid.float()}
            label = label.to(torch.uint8)
        return label.cpu().numpy(), {name: value.cpu().numpy() for name, value in maps.items()}

    def _label(self, probability: Tensor) -> Tensor:
        """Class index of each voxel, from E[p] `[C, *S]`."""
        if self.threshold is None:
            return most_likely(probability)
        cut = label_at(probability.cpu().numpy(), self.threshold)
        return torch.from_numpy(cut).to(probability.device, torch.long)

    def _map_info(self, names: Iterable[str], calibrated: bool) -> dict[str, MapInfo]:
        """Unit, range and source of each map."""
        head = self.network.head
        own = {} if self.method else head.extra_maps()
        source: Source = head.source
        if self.method:
            source = "total" if head.stochastic else PASSES[self.method].source
        classes = len(self.bundle.labels) + 1
        found = {name: own.get(name) or map_info(name, classes, source) for name in names}
        if self.threshold or calibrated:  # the label need not be the likeliest class, or was wrong more often
            found["error_probability"] = found["error_probability"].model_copy(update={"range": (0.0, 1.0)})
        return found

    def _params(self) -> dict[str, Any]:
        """What was asked for beyond the model itself."""
        asked = {"method": self.method, **self.options, "threshold": self.threshold}
        return {k: v for k, v in asked.items() if v is not None} | ({"crf": asdict(self.crf)} if self.crf else {})

    def _provenance(
        self, seed: int, samples: int | None, calibration: Calibration | None, seconds: dict[str, float]
    ) -> Provenance:
        classes = len(self.bundle.labels) + 1
        quadrature = classes > 2 and self.network.head.stochastic
        return Provenance(
            model=self.bundle.name,
            head=self.bundle.head,
            weights_checksum=self.bundle.checksum,
            params=self._params(),
            nodes=default_nodes(classes) if quadrature else None,
            samples=samples,
            seed=seed,
            window=self._window,
            overlap=self._overlap,
            device=self.device,
            dtype="float32",
            code_version=__version__,
            calibration=calibration and calibration.checksum,
            seconds={stage: round(value, 4) for stage, value in seconds.items()},
        )


def predictor_for(
    bundle: Bundle,
    method: str | None,
    folders: Sequence[Path] = (),
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    crf: CRF | None = None,
    threshold: str | None = None,
) -> Predictor:
    """Any method on a model: passes around it, or the model of the same task that has the head `method`.

    The members of an "ensemble" are this model and those named in the option `models`; by default every other trained
    model of the task whose backbone was trained by itself.

    Args:
        bundle: the model.
        method: a name of `inference.methods`; None is the model as it is.
        folders: where further models are.
        options: of passes.
        device: torch device.
        crf: as of `Predictor`.
        threshold: as of `Predictor`.

    Raises:
        InputError: for an unknown method or option.
        BundleError: when there is no model with that head, or no second member of an ensemble.
    """
    given = dict(options or {})
    bundle, passes = model_with(bundle, method, *folders)
    if given and passes is None:
        raise InputError(f"{bundle.name}: '{next(iter(given))}' would be fixed when its head is trained, not here.")
    others = []
    if passes == "ensemble":
        others = ensemble_members(bundle, given.pop("models", None), *folders)
    return Predictor(bundle, device, method=passes, options=given, others=others, crf=crf, threshold=threshold)


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
