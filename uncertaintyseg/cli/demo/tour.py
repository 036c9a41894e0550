"""The demo's steps: what an annotator does with the server and the scene, without the mouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from uncertaintyseg.cli.demo.studies import Studies
    from UncertaintySegLib.scene.case import CaseScene
    from UncertaintySegLib.server.client import Client
    from UncertaintySegLib.server.replies import Sample
    from UncertaintySegLib.server.results import InferResult

Progress = Callable[[str, float], None]
MAP = "predictive_entropy"
STRATEGY = "predictive_entropy"
_VIEWS = {"axial": "Red", "sagittal": "Yellow", "coronal": "Green"}
_SIZE = (480, 440)
_REDRAWN = 0.9
"""The demo's annotator redraws after the reference where the risk is above this quantile of the risky voxels."""


@dataclass
class Visit:
    """One model's answer on the case."""

    model: str
    result: InferResult
    pictures: dict[str, Path] = field(default_factory=dict)


@dataclass
class Story:
    """What happened, for the report."""

    origin: str
    scores: dict[str, float]
    sample: Sample
    visits: list[Visit]
    redrawn: int
    dice_before: dict[str, float]
    dice_after: dict[str, float]
    next_sample: Sample | None
    next_scores: dict[str, float]


class Tour:
    """Score, next sample, infer with each model, look, correct, save, score again.

    Args:
        client: of the running server.
        studies: what it serves.
        pictures: folder for PNG files.
        models: the first one scores and is corrected.
    """

    def __init__(self, client: Client, studies: Studies, pictures: Path, models: Sequence[str]) -> None:
        import headless_slicer
        from UncertaintySegLib.scene.case import CaseScene

        self.client, self.studies, self.pictures, self.models = client, studies, pictures, models
        self.downloads = pictures.parent / "downloads"
        pictures.mkdir(parents=True, exist_ok=True)
        self.host = headless_slicer.start()
        self.scene: CaseScene = CaseScene(self.host.scene)
        self.views = {plane: self.host.slice_view(name, size=_SIZE) for plane, name in _VIEWS.items()}

    def run(self, progress: Progress) -> Story:
        """Walk through all steps."""
        scores = self._score(progress, 0.10, 0.40)
        sample = self.client.next_sample(STRATEGY)
        visits = []
        for number, model in enumerate(self.models):
            progress(f"{sample.id}: {model}", 0.40 + 0.2 * number)
            visits.append(self._visit(sample.id, model))
        progress("correcting where the risk is highest", 0.80)
        before, after, redrawn = self._correct(sample.id, visits[0])
        next_scores = self._score(progress, 0.85, 0.95)
        return Story(
            self.studies.origin,
            scores,
            sample,
            visits,
            redrawn,
            before,
            after,
            self.client.next_sample(STRATEGY),
            next_scores,
        )

    def _score(self, progress: Progress, start: float, end: float) -> dict[str, float]:
        """Score every unlabelled case with the first model."""
        return self.client.score(
            self.models[0], progress=lambda job: progress(f"scoring: {job.stage}", start + (end - start) * job.fraction)
        )

    def _visit(self, case: str, model: str) -> Visit:
        """Infer with one model, show label and map in the scene, and take pictures through the worst place."""
        result = self.client.infer(model, case)
        visit = Visit(model, result)
        if self.scene.case != case:
            self.scene.show_scan(case, self.client.fetch_image(case, self.downloads))
        label = self.client.fetch_label(result, self.downloads)
        self.scene.show_segmentation(label, result.labels, result.provenance)
        risk = self.client.fetch_map(result, MAP, self.downloads)
        self.scene.add_map(MAP, risk, result.maps[MAP], result.provenance)
        self.scene.show_map(MAP)
        self.scene.set_threshold(0.15 * self.scene.maximum(MAP))
        for plane, view in self.views.items():
            view.fit()
            if result.regions:
                view.jump_to(result.regions[0].ras_mm)
            visit.pictures[plane] = view.save_png(self.pictures / f"{model}_{plane}.png")
        return visit

    def _correct(self, case: str, visit: Visit) -> tuple[dict[str, float], dict[str, float], int]:
        """Redraw the riskiest voxels after the reference, save the label on the server; Dice before and after."""
        from uncertaintyseg.data.scan import read_label, read_scan
        from uncertaintyseg.data.writing import write_volume
        from uncertaintyseg.metrics.overlap import dice

        result = self.client.infer(visit.model, case)  # from the server's cache
        label_path = self.client.fetch_label(result, self.downloads)
        label = read_label(label_path)[0].numpy()
        scan = read_scan(self.client.fetch_image(case, self.downloads))
        reference = read_label(self.studies.references[case], like=scan)[0].numpy()
        risk = read_scan(self.client.fetch_map(result, "error_probability", self.downloads))[0].numpy()
        risky = risk > np.quantile(risk[risk > 0.01], _REDRAWN)
        drawn, file = self.downloads / "drawn.nii.gz", self.downloads / "corrected.nii.gz"
        write_volume(drawn, np.where(risky, reference, label).astype(np.uint8), scan.affine.numpy())

        self.scene.show_segmentation(label_path, result.labels, result.provenance)
        self.scene.redraw(drawn)
        self.scene.write_label(file)
        self.client.upload_label(case, file)
        saved = read_label(file, like=scan)[0].numpy()
        names = {item.name: item.id for item in result.labels}

        def scores(drawn: np.ndarray) -> dict[str, float]:
            return {name: dice(drawn == i, reference == i) for name, i in names.items()}

        return scores(label), scores(saved), int((label != saved).sum())


def summary(result: InferResult) -> dict[str, Any]:
    """The provenance worth reading at a glance."""
    keys = ("head", "weights_checksum", "nodes", "samples", "seed", "window", "device", "code_version")
    return {key: result.provenance.get(key) for key in keys}
