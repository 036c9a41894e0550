"""What a head and its moments cost over the plain network, and what encoding the maps costs on top."""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import torch
from common import console, interleaved, machine, seconds, show

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.data.phantom import write_phantoms
from uncertaintyseg.data.writing import encode_map
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.bundle import find_bundles
from uncertaintyseg.logits import Moments
from uncertaintyseg.measures import map_info, risk_maps
from uncertaintyseg.segmenter import Segmenter

CLASSES = ("organ", "lesion")
BACKBONES = {
    "as shipped": DynUNetBackbone,
    "reference (METHODS 7.1)": DynUNetBackbone.reference,
}
SEGWITHU = {"taps": {"up_1": 256, "up_2": 128}}
"""The taps of SegWithU in its reference configuration; the other heads read the last features only."""


def variants(backbone: DynUNetBackbone) -> dict[str, tuple[str, dict[str, object]]]:
    """Heads to time by what they are called in the table: name and options."""
    found: dict[str, tuple[str, dict[str, object]]] = {name: (name, {}) for name in HEADS if name != "deterministic"}
    if backbone.features == 32:
        found["segwithu"] = ("segwithu", SEGWITHU)
        found["segwithu, faithful"] = ("segwithu", SEGWITHU | {"faithful": True})
    found["laplace, diagonal"] = ("laplace", {"structure": "diagonal"})
    found["laplace on low_rank"] = ("laplace", {"base": "low_rank"})
    return found


def network(backbone: DynUNetBackbone, head: str, classes: int, **options: object) -> Segmenter:
    """A segmenter with random weights, sharpened as training does: most voxels far from the decision border."""
    torch.manual_seed(0)
    segmenter = Segmenter(backbone, head, classes, **options).eval()
    with torch.no_grad():
        segmenter.head.mean.weight.mul_(6)
        segmenter.head.mean.bias[0] += 8
    return segmenter


def answer(segmenter: Segmenter, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Network and maps, as the predictor makes them in a window."""
    return read(segmenter, *segmenter.extract(image))


def read(segmenter: Segmenter, features: torch.Tensor, taps: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Head and maps alone."""
    output = segmenter.read(features, taps)
    return risk_maps(output.distribution.moments(), CLASSES[: segmenter.head.classes - 1]) | dict(output.maps)


def compare(name: str, classes: int, size: tuple[int, ...], repeats: int) -> list[list[str]]:
    """Rows of one backbone: each head with its maps, in turns with the plain network."""
    image = torch.randn(1, 1, *size)
    backbone = BACKBONES[name]()  # one for all: only the heads differ
    plain = network(backbone, "deterministic", classes)
    parameters = sum(p.numel() for p in backbone.parameters()) / 1e6
    label, rows = f"{name}, {parameters:.1f} M", []
    for title, (head, options) in variants(backbone).items():
        segmenter = network(backbone, head, classes, **options)
        times = interleaved(  # in pairs: a machine's pace drifts by more than a head costs
            {
                "plain": lambda: plain(image).distribution.mean.softmax(1),
                title: lambda segmenter=segmenter: answer(segmenter, image),
            },
            repeats,
        )
        alone = seconds(partial(read, segmenter, *segmenter.extract(image)), repeats)
        ratio = f"{times[title] / times['plain']:.2f}x"
        seen = [f"{time:.3f}" for time in (times["plain"], times[title], alone)]
        rows.append([label, str(classes), title, *seen, ratio, f"{1 + alone / times['plain']:.2f}x"])
    return rows


def shipped(task: str, scan: Path) -> list[list[str]]:
    """Rows of the shipped models of a task on a scan: plain network, then each model with its moments.

    Models with a backbone of their own are left out: their heads are not what differs.
    """
    runs, image = {}, None
    for bundle in find_bundles().values():
        if bundle.task == task and (bundle.head == "deterministic") == (bundle.name == f"{task}_deterministic"):
            segmenter, volume = bundle.network(), bundle.preprocessing()({"image": scan})["image"].as_tensor()[None]
            divisor = segmenter.divisor
            image = torch.nn.functional.pad(
                volume, [side for axis in reversed(volume.shape[2:]) for side in (0, -axis % divisor)], mode="replicate"
            )
            if bundle.head == "deterministic":
                runs["plain network"] = lambda net=segmenter, x=image: net(x).distribution.mean.softmax(1)
            else:
                runs[bundle.name.removeprefix(f"{task}_")] = lambda net=segmenter, x=image: answer(net, x)
    label, rows = f"{task}, {' x '.join(str(side) for side in image.shape[2:])}", []
    plain = runs.pop("plain network")
    for head, run in runs.items():
        times = interleaved({"plain": plain, head: run}, repeats=9)
        ratio = f"{times[head] / times['plain']:.2f}x"
        rows.append([label, "3", head, f"{times['plain']:.3f}", f"{times[head]:.3f}", ratio])
    return rows


def encoding(size: int) -> list[list[str]]:
    """Seconds to make all maps of a volume, and to encode one, beside its network pass."""
    segmenter = network(BACKBONES["as shipped"](), "low_rank", 2)
    image = torch.randn(1, 1, size, size, size)
    moments = segmenter(image).distribution.moments()
    maps = risk_maps(moments, ["organ"])
    entropy = maps["predictive_entropy"][0, 0].numpy()
    limits = map_info("predictive_entropy", 2, "aleatoric").range

    def run() -> Moments:
        return segmenter(image).distribution.moments()

    times = interleaved(
        {
            "network + moments": run,
            f"all {len(maps)} maps": lambda: risk_maps(moments, ["organ"]),
            "encode one map": lambda: encode_map(entropy, torch.eye(4).numpy(), limits),
        },
        repeats=3,
    )
    return [[stage, f"{time:.3f}"] for stage, time in times.items()]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(64, 64, 64))
    parser.add_argument("--data", type=Path, help="hippocampus cases, to time those models too")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console.print(f"windows of {tuple(options.size)} voxels; {machine()}")
    with torch.inference_mode():
        columns = ["network", "classes", "head", "plain s", "with head s", "head alone s", "ratio", "1 + alone"]
        rows = [
            row
            for name, classes in (("reference (METHODS 7.1)", 2), ("as shipped", 2), ("as shipped", 3))
            for row in compare(name, classes, tuple(options.size), options.repeats)
        ]
        show("Network + maps against the plain network, random weights", columns, rows)
        with tempfile.TemporaryDirectory() as folder:
            write_phantoms(Path(folder), 1, seed=1000)
            rows = shipped("phantom", next(Path(folder).glob("images/*")))
        if options.data:
            rows += shipped("hippocampus", min(options.data.glob("images/*.nii.gz")))
        columns = ["network", "classes", "head", "plain s", "with head s", "ratio"]
        show("The same, shipped models on a scan", columns, rows)
        show("Maps of a 96^3 volume, two classes", ["stage", "s"], encoding(96))


if __name__ == "__main__":
    main()
