"""What a head and its moments cost over the plain network, and what encoding the maps costs on top."""

from __future__ import annotations

import argparse

import torch
from common import console, interleaved, machine, show

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.data.scan import encode_map
from uncertaintyseg.heads import HEADS
from uncertaintyseg.logits import Moments
from uncertaintyseg.measures import map_info, risk_maps
from uncertaintyseg.segmenter import Segmenter

BACKBONES = {"shipped hippocampus": (16, 32, 64, 96), "larger": (32, 64, 128, 256)}


def network(filters: tuple[int, ...], head: str, classes: int) -> Segmenter:
    """A segmenter with random weights, sharpened as training does: most voxels far from the decision border."""
    torch.manual_seed(0)
    segmenter = Segmenter(DynUNetBackbone(filters=filters), head, classes).eval()
    with torch.no_grad():
        segmenter.head.mean.weight.mul_(6)
        segmenter.head.mean.bias[0] += 8
    return segmenter


def compare(name: str, classes: int, size: tuple[int, ...]) -> list[list[str]]:
    """Rows of one backbone: plain network, then each head with its moments, as ratios."""
    image = torch.randn(1, 1, *size)
    plain = network(BACKBONES[name], "deterministic", classes)
    parameters = sum(p.numel() for p in plain.backbone.parameters()) / 1e6
    runs = {"plain network": lambda: plain(image).distribution.mean.softmax(1)}
    for head in HEADS:
        segmenter = network(BACKBONES[name], head, classes)
        runs[head] = lambda segmenter=segmenter: segmenter(image).distribution.moments()
    times = interleaved(runs)
    base = times["plain network"]
    label = f"{name} ({parameters:.1f} M)"
    return [[label, str(classes), run, f"{time:.3f}", f"{time / base:.2f}x"] for run, time in times.items()]


def encoding(size: int) -> list[list[str]]:
    """Seconds to make all maps of a volume, and to encode one, beside its network pass."""
    segmenter = network(BACKBONES["shipped hippocampus"], "low_rank", 2)
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
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console.print(f"windows of {tuple(options.size)} voxels; {machine()}")
    with torch.inference_mode():
        rows = [row for name in BACKBONES for classes in (2, 3) for row in compare(name, classes, tuple(options.size))]
        show("Network + moments against the plain network", ["backbone", "classes", "run", "s", "ratio"], rows)
        show("Maps of a 96^3 volume, two classes", ["stage", "s"], encoding(96))


if __name__ == "__main__":
    main()
