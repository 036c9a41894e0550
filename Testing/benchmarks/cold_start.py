"""How many corrected slices a structure that no model knows takes: UniverSeg, a copied label, a U-Net trained on them.

    python Testing/benchmarks/cold_start.py models/universeg_small DATA --split msd_hippocampus --json table.json

Support and query are of different patients. `universeg_small.py` trains the shipped model.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from common import show, told
from monai.networks.nets import UNet
from torch import Tensor, nn
from universeg_small import RATE, loss_of

from uncertaintyseg.backbones import UniverSeg
from uncertaintyseg.backbones.in_context import read_out_structures
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.slices import PLANES
from uncertaintyseg.data.splitting import read_split, subject_of
from uncertaintyseg.imports.universeg import shown
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.metrics.intervals import mean_of_defined, mean_with_interval

_GOOD = 0.8


class Nearest(nn.Module):
    """The label of the most similar example, by the mean squared difference: what is to be beaten."""

    def __init__(self, like: UniverSeg) -> None:
        super().__init__()
        self.features, self.out_conv = like.features, _first_feature(like.features[0])

    def read(self, target: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The logit, +-4, as the first feature."""
        best = (target[:, None] - images).square().flatten(2).mean(2).argmin(1)
        return _as_feature(8 * labels[range(len(best)), best] - 4, self.features[0])


class Trained(nn.Module):
    """A U-Net trained on the examples, once for each structure."""

    def __init__(self, like: UniverSeg, steps: int) -> None:
        super().__init__()
        self.features, self.out_conv, self.steps = like.features, _first_feature(like.features[0]), steps
        self.known: list[tuple[Tensor, nn.Module]] = []

    def read(self, target: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The logit as the first feature."""
        network = next((network for seen, network in self.known if torch.equal(seen, labels[0])), None)
        if network is None:
            network = self._fitted(images[0], labels[0])
            self.known.append((labels[0].clone(), network))
        return _as_feature(network(target), self.features[0])

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _fitted(self, images: Tensor, labels: Tensor) -> nn.Module:
        images, labels = images.clone(), labels.clone()  # those of a prediction have no gradients
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        network = UNet(2, 1, 1, (16, 32, 64), (2, 2), num_res_units=1)
        optimiser = torch.optim.AdamW(network.parameters(), RATE)
        for _ in range(self.steps):
            where = torch.from_numpy(rng.integers(0, len(images), 8))
            image, mask = _moved(images[where], labels[where], rng)
            loss = loss_of(network(image), mask)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return network.eval()


def _moved(images: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    parts = [_varied_alone(image, mask, rng) for image, mask in zip(images[:, 0], masks[:, 0], strict=True)]
    return tuple(torch.stack(values)[:, None] for values in zip(*parts, strict=True))


def _varied_alone(image: Tensor, mask: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Moved and scaled a little, as a plain training would; neither turned over nor inverted."""
    shift = rng.integers(-3, 4, 2).tolist()
    moved = [torch.roll(values, shift, (0, 1)) for values in (image, mask)]
    return moved[0] ** float(np.exp(rng.normal(0, 0.2))), moved[1]


def _first_feature(width: int) -> nn.ModuleDict:
    """An output layer that hands out the first feature."""
    layer = nn.Conv2d(width, 1, 1)
    with torch.no_grad():
        layer.weight.zero_()[0, 0] = 1
        layer.bias.zero_()
    return nn.ModuleDict({"conv": layer})


def _as_feature(logit: Tensor, width: int) -> Tensor:
    return F.pad(logit, (0, 0, 0, 0, 0, width - 1))


def table(options: argparse.Namespace) -> None:
    """Dice and the AUROC of errors near borders against the number of examples."""
    bundle, cases = Bundle.load(options.model), read_cases(options.data)
    parts = read_split(options.split)
    found = {case.id: case for case in cases}
    support = [found[i] for i in parts["train"] if i in found][: options.support]
    query = [found[i] for i in parts["validation"] if i in found][: options.query]
    if {subject_of(case.id) for case in support} & {subject_of(case.id) for case in query}:
        raise SystemExit("support and query share a patient: choose another split.")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = _folder_of(support, Path(scratch))
        for count in options.examples:
            with shown(bundle, folder, plane=options.plane, most=count) as one:
                for name, predictor in _runs(one, options.steps).items():
                    if name == "UniverSeg" and count == options.examples[-1] and options.picture:
                        draw(options.picture, query[0], predictor, options.plane or "axial")
                    rows.append({"examples": count, "by": name, **_figures(evaluate(predictor, query, told(name)))})
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    title = f"{len(query)} cases of {options.data.name}, examples of {len(support)} others"
    show(title, ["examples", "by", "Dice", "AUROC near borders"], [
        [
            str(row["examples"]), row["by"], "{:.3f} ({:.3f} to {:.3f})".format(row["dice"], *row["interval"]),
            f"{row['auroc']:.3f} ({row['map']})",
        ] for row in rows
    ])  # fmt: skip
    for name in dict.fromkeys(row["by"] for row in rows):
        enough = next((row["examples"] for row in rows if row["by"] == name and row["dice"] >= _GOOD), None)
        print(f"{name}: mean Dice {_GOOD} {f'at {enough} examples' if enough else 'is not reached'}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def draw(path: Path, case: Case, predictor: Predictor, plane: str) -> None:
    """Slices of a case: the scan, the label by hand, what was found, and where it may be wrong."""
    found = predictor.predict(case.image)
    risk = nib.Nifti1Image(found.maps["error_probability"], found.affine)
    volumes = [nib.load(case.image), nib.load(case.label), nib.Nifti1Image(found.label, found.affine), risk]
    scan, hand, label, risk = (
        np.moveaxis(nib.as_closest_canonical(one).get_fdata(), PLANES[plane], 0) for one in volumes
    )
    drawn = np.flatnonzero(hand.any((1, 2)))
    places = np.linspace(max(drawn[0] - 3, 0), min(drawn[-1] + 3, len(scan) - 1), 7).round().astype(int)
    classes = max(hand.max(), label.max())
    rows = (
        ("scan", scan, "gray", None), ("by hand", hand, "viridis", classes), ("found", label, "viridis", classes),
        ("risk", risk, "hot", 0.5),
    )  # fmt: skip
    figure, axes = plt.subplots(len(rows), len(places), figsize=(12, 5), layout="constrained")
    for line, (title, values, colours, most) in zip(axes, rows, strict=True):
        for cell, place in zip(line, places, strict=True):
            cell.imshow(values[place].T, cmap=colours, origin="lower", vmin=None if most is None else 0, vmax=most)
            cell.set(xticks=[], yticks=[])
        line[0].set_ylabel(title)
    for cell, place in zip(axes[0], places, strict=True):
        cell.set_title(f"slice {place}", fontsize=9)
    figure.savefig(path, dpi=80)


def _folder_of(cases: list[Case], folder: Path) -> Path:
    """A data set of these cases alone."""
    for case in cases:
        for kind, path in (("images", case.image), ("labels", case.label)):
            (folder / kind).mkdir(exist_ok=True)
            shutil.copyfile(path, folder / kind / path.name)
    return folder


def _runs(bundle: Bundle, steps: int) -> dict[str, Predictor]:
    """Ways to segment from the same examples, through the same program."""
    runs = {"UniverSeg": Predictor(bundle), "UniverSeg, tta": Predictor(bundle, method="tta")}
    if len(bundle.uncertainty.origin["slices"]) > 1:
        runs["UniverSeg, examples"] = Predictor(bundle, method="examples")
    for name, made in (("nearest example", Nearest), ("U-Net", lambda like: Trained(like, steps))):
        runs[name] = Predictor(bundle)
        network = runs[name].network
        network.backbone.network = made(network.backbone.network)
        read_out_structures(network.head.mean, network.backbone.network)
    return runs


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    dice = mean_with_interval([mean_of_defined(row["dice"].values()) for row in result["cases"]])
    best = result["best_map"]
    auroc = result["error_detection"]["boundary"][best]["auroc"]["mean"]
    return {
        "dice": dice.mean,
        "interval": [dice.lo, dice.hi],
        "auroc": auroc,
        "map": best,
        "seconds": result["seconds_per_case"],
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder, as uncertaintyseg import has written it")
    parser.add_argument("data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--split", default="msd_hippocampus", help="examples: its train part; queries: validation")
    parser.add_argument("--examples", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--support", type=int, default=8, help="cases that examples are of")
    parser.add_argument("--query", type=int, default=20, help="cases that are segmented")
    parser.add_argument("--plane", choices=[*PLANES], help="by default that of the thickest slices")
    parser.add_argument("--steps", type=int, default=400, help="that the U-Net is trained")
    parser.add_argument("--picture", type=Path, help="PNG file for a case of UniverSeg and the most examples")
    parser.add_argument("--json", type=Path, help="file for the figures")
    table(parser.parse_args())


if __name__ == "__main__":
    main()
