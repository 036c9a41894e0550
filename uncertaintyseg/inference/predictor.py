"""From a scan's file to a prediction on its own grid."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from uncertaintyseg.active.acquisition import case_scores
from uncertaintyseg.data.channel_checks import check_channels
from uncertaintyseg.data.channels import Image, read_channels
from uncertaintyseg.data.doubts import scan_doubts
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.time_axis import Measure, check_dimensions, is_clip
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.anomalies import MISMATCH, mismatch_map, mismatch_note
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.case_scale import weigh_maps
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.cutting import ABOVE, CutOf, apply, cut_of
from uncertaintyseg.inference.described import (
    MOST_VARIANCES,
    asked_for,
    boxed,
    files_of,
    map_infos,
    named,
    provenance,
    sized,
)
from uncertaintyseg.inference.device import checked_device
from uncertaintyseg.inference.ellipses import with_forms
from uncertaintyseg.inference.engine import Engine
from uncertaintyseg.inference.features import pooled_features
from uncertaintyseg.inference.looking import Asked, Look, named_maps
from uncertaintyseg.inference.methods import make_passes, network_beside, options_of
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.prompting import Asking, check_room, prompted_volume
from uncertaintyseg.inference.shapes import SAMPLES
from uncertaintyseg.inference.spread import ShapeKeeper, Spread
from uncertaintyseg.inference.stream import (
    CUT,
    IN_MEMORY_BYTES,
    Average,
    Gathered,
    Gatherer,
    LogitAverage,
    MomentAverage,
    Need,
    Scratch,
    WindowLayout,
    need,
)
from uncertaintyseg.inference.thresholding import Threshold
from uncertaintyseg.inference.timing import Progress, timed
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.review.calibration import MEASURE, Calibration
from uncertaintyseg.review.coverage import review_curve
from uncertaintyseg.review.promise import ALPHA, promised
from uncertaintyseg.review.regions import regions
from uncertaintyseg.review.structures import Drawn, structure_table
from uncertaintyseg.segmenter import Network
from uncertaintyseg.wire import Label, MapInfo

CROPPED = "uncalibrated: only a region of the scan was looked at, and what is promised is of whole scans"
_RECALIBRATED = 16
"""Planes whose error probability is recalibrated at once."""


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
        threshold: how the label is cut from a probability, or an uncertainty map marked (`inference.thresholding`), or
            the text that says so; None takes the most likely class.
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
        threshold: Threshold | str | None = None,
        halvings: int = 0,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        self.device = checked_device(device)
        self.method = method
        self.options = options_of(self.bundle, method, options or {}) if method else dict(options or {})
        self.crf, self.threshold = crf, Threshold.read(threshold) if isinstance(threshold, str) else threshold
        self._cut = cut_of(self.bundle, method, self.threshold) if self.threshold else CutOf()
        self.network = self.bundle.network().to(self.device)
        self.preprocessing = self.bundle.preprocessing()
        self._spacing = tuple(self.bundle.setting("spacing"))
        self.layout = WindowLayout.of(self.bundle, self.network.divisor, halvings)
        runner: Network = self.network
        if method:
            members = [network_beside(self.bundle, other).to(self.device) for other in others]
            runner = make_passes(method, self.network, spacing=self.bundle.reach, options=self.options, others=members)
            self.options |= {"models": [other.name for other in others]} if others else {}
        self.engine = Engine(self.bundle, self.network, runner, self.layout, self.device, method, crf)

    force = False
    """Whether channels are taken as they are, where they look swapped (`data.channel_checks`)."""

    asking = Asking()
    """What a model that is prompted is asked for (`inference.prompting`)."""

    @property
    def title(self) -> str:
        """Model and method, for people."""
        return f"{self.bundle.name} with {self.method}" if self.method else self.bundle.name

    @property
    def drivers(self) -> tuple[str, ...]:
        """Maps of every run that rank voxels: any of them can drive regions, thresholds and promises."""
        return (*MEASURES, *self.own_maps)

    @property
    def own_maps(self) -> dict[str, MapInfo]:
        """Maps of the method's own, or of the head's where there is none."""
        if self.method:
            return PASSES[self.method].extra_maps(len(self.bundle.labels) + 1)
        return self.network.head.extra_maps()

    @property
    def calibration(self) -> tuple[Calibration | None, str | None]:
        """What is known of the error probability on calibration cases; or None, and why that does not hold here."""
        params = asked_for(self.method, self.options, self._label_by, self.crf)
        if params:
            return None, f"uncalibrated: promises are of a model as it is, not with {', '.join(params)}"
        found, reason = self.bundle.calibration
        if found and (found.window, found.overlap) != (self.layout.window, self.layout.overlap):
            return None, "uncalibrated: the model was calibrated with other windows"
        if found and found.measure not in self.drivers:
            return None, f"uncalibrated: it was calibrated by the map '{found.measure}', which this run does not have"
        return found, reason

    @property
    def _label_by(self) -> Threshold | None:
        """The threshold, where it is the label that it cuts."""
        return None if self._cut.structure is None else self.threshold

    def predict(
        self,
        image: Image,
        *,
        seed: int = 0,
        samples: int = SAMPLES,
        structures: Sequence[str] | None = None,
        region: Sequence[Sequence[int]] | None = None,
        scratch: str | os.PathLike[str] | None = None,
        alpha: float = ALPHA,
        delta: float | None = None,
        anomaly: str | None = None,
        progress: Progress = lambda stage, fraction: None,
    ) -> Prediction:
        """Segment one scan. Same seed and device: the same result, bit for bit.

        Args:
            image: as of `read_channels`: file or folder of a DICOM series, or the files of several channels.
            seed: of the samples behind the volume interval; the maps have no randomness.
            samples: whole segmentations drawn for that interval, where the head has coherent ones; fewer, but as many
                as it needs (39), in a region of over 1.6 million voxels. With fewer there is no interval.
            structures: names of those that get maps and rows of their own; None: all. The label has all of them.
            region: first voxel and one after the last along each axis of the scan: only there the model looks, and the
                rest is marked as not seen.
            scratch: folder for the maps of large scans, which stays; None: a temporary one that goes with the result.
            alpha: bound to promise, as of `review.promise.guarantee`.
            delta: None: on average; else with confidence 1 - delta.
            anomaly: structure whose expected mismatch becomes one more map (`anomalies.mismatch_map`).
            progress: called with a stage and the fraction done.

        Raises:
            InputError: for a scan that cannot be used, a structure the model does not have, a region outside the scan,
                or an alpha or delta that is not between 0 and 1.
        """
        seconds: dict[str, float] = {}
        labels = named(self.bundle.labels, structures)
        doubted = named(labels, [anomaly]) if anomaly else []
        with timed(seconds, "read"):
            progress("reading the scan", 0.0)
            about, channels = self.bundle.uncertainty, self.bundle.channels
            scan = read_channels(image, len(channels), channels)
            check_dimensions(scan, about.dimensions)
            if not self.force:
                check_channels(scan, channels, about.channel_ranges, about.modality)
            doubts = scan_doubts(scan, self.bundle.modality)
            box = boxed(region, scan.shape[1:])
        carried = structures is not None or len(self.bundle.labels) < MOST_VARIANCES
        asked = Asked(labels, structures is not None, carried, box, scratch, samples, seed)
        look = self._look(scan, asked, progress, seconds)
        found, spread = look.found, look.spread
        scales = weigh_maps(found.maps, None if self.method else self.network.head, clip=is_clip(scan))
        with timed(seconds, "maps"):
            progress("making the maps", 0.9)
            calibration, uncalibrated = self.calibration
            driven_by = calibration.measure if calibration else MEASURE
            error, driving = found.maps[MEASURE], found.maps[driven_by]
            for start in range(0, len(error) if calibration else 0, _RECALIBRATED):
                planes = slice(start, start + _RECALIBRATED)
                error[planes] = calibration.recalibrated(driving[planes])
            maps = named_maps(found, labels)
            sizes, valid, classes = Measure.of(scan), maps.get("valid"), len(self.bundle.labels) + 1
            voxel_ml, clip = sizes.voxel, sizes.clip
            cut = apply(self.threshold, self._cut, found, maps, self.own_maps, classes, look.store, sizes)
            notes = dict(look.notes) | ({ABOVE: cut.text} if ABOVE in maps else {})
            if doubted:
                maps[MISMATCH] = mismatch_map(doubted[0], found.label, maps, look.store)
                notes[MISMATCH] = mismatch_note(doubted[0])
        affine, label = np.asarray(scan.affine, dtype=np.float64), found.label
        with timed(seconds, "review"):
            names = {item.name: maps[f"probability_{item.name}"] for item in labels}
            rows = structure_table(label, names, error, labels, voxel_ml, spread.drawn, valid=valid, clip=clip)
            table = with_forms(rows, label, affine, sizes, names)
            places = regions(label, error, names, labels, affine, clip=clip, voxel_ml=sizes.place)
            foreground = {"clip": clip, "voxel_ml": voxel_ml if self.bundle.flat else None}
            scores = case_scores(maps, label, spacing_mm(affine), table, **foreground)
            whole = calibration if box is None else None  # what it promises is of whole scans
            why = CROPPED if whole is not calibration else uncalibrated
            promise, reason = promised(whole, why, alpha, delta, "area" if self.bundle.flat else "volume")
            curve = review_curve(error, voxel_ml, whole, also=promise and promise.threshold, valid=valid, clip=clip)
        progress("done", 1.0)
        info = map_infos(
            maps, self.bundle, self.network.head, method=self.method,
            open_error=bool(self._label_by or calibration or self.bundle.config.get("regions") or look.merged),
            alone=look.alone, without_variances=not carried, notes=notes, driven_by=driven_by, scales=scales,
        )  # fmt: skip
        params = asked_for(
            self.method, self.options, self.threshold, self.crf,
            structures=structures and list(structures), region=region and [list(part) for part in region],
            anomaly=anomaly, prompts=look.prompts,
        )  # fmt: skip
        made = provenance(
            self.bundle, self.network.head, seconds,
            params=params, samples=spread.drawn.count or None, seed=seed, window=self.layout.window,
            overlap=self.layout.overlap, device=self.device, calibration=calibration and calibration.checksum,
            warnings=[f"the scan {doubt}" for doubt in doubts], channels=files_of(image, channels),
        )  # fmt: skip
        return Prediction(
            label, affine, maps, info, table, made, scores["predictive_entropy"], spread.state, regions=places,
            case_scores=scores, features=look.features, risk_coverage=curve, guarantee=promise, guarantee_reason=reason,
            alternative=found.alternative, scratch=look.store, driven_by=driven_by, threshold=cut, sizes=sizes,
        )  # fmt: skip

    def samples(
        self, prediction: Prediction, count: int, seed: int = 0, *, paths: bool = False
    ) -> Iterator[np.ndarray]:
        """Draw whole segmentations behind one of this predictor's predictions, without running the network again.

        Args:
            prediction: with a state.
            count: how many.
            seed: of the draws; that of the prediction gives those behind its volume interval.
            paths: draw as many of each further path of the head, the first ones of its own distribution.

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
        ways = (None, *head.further) if paths else (None,)
        return prediction.state.labels_on(prediction.affine, shape, head, count, generator, ways)

    def predict_folder(self, images: str | os.PathLike[str], output: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """Segment every scan of a folder into one folder each; for `python -m monai.bundle run`.

        Raises:
            InputError: for a folder without scans, or a scan that cannot be used.
        """
        return [self.predict(case.image).save(Path(output) / case.id) for case in read_cases(images)]

    def _look(self, scan: MetaTensor, asked: Asked, progress: Progress, seconds: dict[str, float]) -> Look:
        """Run the network, and bring what it says to the scan's grid."""
        labels = asked.labels
        average = self.engine.average([item.id for item in labels] if asked.carried else [])
        with timed(seconds, "read"):
            on_disk = self._check_need(scan, average, labels, asked)
            given = self.network, self.engine.runner, self.bundle.labels, self.asking, self.device
            volume, prompts = prompted_volume(scan, self.preprocessing, *given, progress)
        store = Scratch(asked.scratch, on_disk=on_disk)
        with timed(seconds, "maps"), pooled_features(self.network.backbone) as features:
            found, keeper = self._gathered(
                scan, volume, average, labels, asked.box, store, progress=progress, seconds=seconds
            )
        seconds["maps"] -= seconds["network"] + seconds.get("crf", 0.0)
        with timed(seconds, "samples"):
            progress("drawing plausible segmentations", 0.8)
            spread = self._spread(keeper, volume, found.label, scan, asked)
        alone = isinstance(average, LogitAverage) and not average.several
        return Look(found, spread, store, features.vector, alone, prompts=prompts and prompts.about)

    def _check_need(self, scan: MetaTensor, average: Average, labels: Sequence[Label], asked: Asked) -> bool:
        """Whether the maps of a scan go to files; raises `InputError` where it takes more memory than there is."""
        own = len(self.own_maps)
        scalars = 4 * (len(MEASURES) + own + 1) + 2 + (12 if self.threshold else 0)
        boxes = len(labels) + len(average.variances)
        on_disk = (scalars + 4 * boxes) * scan[0].numel() > IN_MEMORY_BYTES
        found = self.need(scan, average, asked.box, scalars=scalars, boxes=boxes, on_disk=on_disk)
        check_room(found, self.network, sized(scan), self.device, Path(asked.scratch or gettempdir()))
        return on_disk

    def need(
        self,
        scan: MetaTensor,
        average: Average,
        region: Sequence[slice] | None,
        *,
        scalars: int,
        boxes: int,
        on_disk: bool,
    ) -> Need:
        """What a scan, or a region of it, takes; other arguments as of `stream.need`."""
        extent = np.multiply(scan.shape[1:], spacing_mm(scan.affine))
        spacing = spacing_mm(scan.affine) if self.bundle.prompted else self._spacing
        shape = [max(1, round(side / size)) for side, size in zip(extent, spacing, strict=True)]
        ratios = np.divide(shape, scan.shape[1:])
        box = region and [
            slice(int(part.start * ratio), max(1, round(part.stop * ratio)))
            for part, ratio in zip(region, ratios, strict=True)
        ]
        head, features = self.network.head, self.network.features
        shapes = not (self.method or self.crf) and head.coherent and ShapeKeeper.fits(features, shape)
        return need(
            self.layout.over(shape, self.network.divisor, box),
            average,
            scan.shape[1:],
            features=features,
            kept=features if shapes else 0,
            own=len(self.own_maps),
            scalars=scalars,
            boxes=boxes,
            on_disk=on_disk,
            whole=4 * average.classes if self.crf else 0,
        )

    def _spread(
        self, keeper: ShapeKeeper | str, volume: MetaTensor, label: np.ndarray, scan: MetaTensor, asked: Asked
    ) -> Spread:
        """Volume intervals and Dice from coherent samples, or the reason why there are none."""
        if isinstance(keeper, str):
            return Spread(None, Drawn(keeper))
        generator, labels = torch.Generator(self.device).manual_seed(asked.seed), self.bundle.labels
        head, grids = self.network.head, (volume.affine, label, scan.affine)
        return keeper.spread(head, labels, *grids, asked.samples, generator, Measure.of(scan, volume.affine).voxel)

    def _gathered(
        self,
        scan: MetaTensor,
        volume: MetaTensor,
        average: Average,
        labels: Sequence[Label],
        box: Sequence[slice] | None,
        scratch: Scratch,
        **report: Any,
    ) -> tuple[Gathered, ShapeKeeper | str]:
        """What the network says on the scan's grid, and the keeper of what whole shapes are drawn from."""
        grid, plan = self.engine.over(scan, volume, box)
        keeper = self.engine.keeper(grid, scratch)
        watching = keeper if isinstance(keeper, ShapeKeeper) else None
        if isinstance(average, MomentAverage):
            average.features = watching is not None
        gatherer = Gatherer(
            scan.shape[1:], grid.planes_axis(plan.axis), [item.id for item in labels], scratch,
            covered=grid.covered, cut=CUT if scratch.on_disk else 0.0, label_by=self._label_by,
            cut_of=self._cut.structure or 0,
        )  # fmt: skip
        for chunk in self.engine.chunks(volume, grid, plan, average, watching, **report):
            gatherer.add(chunk)
        return gatherer.finish(), keeper
