"""What training-free passes cost: time with and without reuse of what comes before the dropout, and peak memory."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from common import console, interleaved, machine, show
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import nn

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.imports.stock import StockNetwork
from uncertaintyseg.inference.passes import PASSES, Passes
from uncertaintyseg.inference.passes.dropout import DropoutInjection, MCDropout
from uncertaintyseg.segmenter import Network, Segmenter

FILTERS = (16, 32, 64, 96)
SMALL = (4, 8, 8, 8)
"""For the memory: a network that needs little itself, so that what passes keep shows."""
STREAMS = ("one pass", "passes stacked", "mc_dropout", "dropout_injection", "noise", "tta", "ensemble")


def dropout_only(network: nn.Module, keep: Callable[[str], bool]) -> StockNetwork:
    """A MONAI network whose dropout layers are on only where `keep` says so by their name."""
    for name, part in network.named_modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.2 if keep(name) else 0.0
    return StockNetwork(network, divisor=8)


def dynunet(keep: Callable[[str], bool], filters: tuple[int, ...] = FILTERS) -> StockNetwork:
    """The architecture of the shipped models with dropout layers."""
    net = DynUNet(3, 1, 3, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=filters, dropout=0.2)
    return dropout_only(net, keep)


def unet() -> StockNetwork:
    """MONAI's UNet, dropout in its last step up."""
    net = UNet(3, 1, 3, channels=FILTERS, strides=(2, 2, 2), num_res_units=2, dropout=0.2)
    return dropout_only(net, lambda name: name.startswith("model.2."))


def shipped(filters: tuple[int, ...] = FILTERS) -> Segmenter:
    """The architecture of the shipped models as it is, without dropout."""
    return Segmenter(DynUNetBackbone(filters=filters), "deterministic", 3).eval()


def cases(count: int) -> dict[str, Callable[[bool], Passes]]:
    """What is timed: a name, and so many passes with or without reuse."""
    everywhere, last_step = dynunet(lambda name: True), dynunet(lambda name: "upsamples.2.conv_block" in name)
    bottom = dynunet(lambda name: "bottleneck" in name)
    late, plain = unet(), shipped()
    start = StockNetwork(SegResNet(3, 16, in_channels=1, out_channels=3, dropout_prob=0.2), divisor=8)
    return {
        "mc_dropout, DynUNet, all layers": lambda reuse: MCDropout(everywhere, passes=count, reuse=reuse),
        "mc_dropout, DynUNet, from the bottleneck on": lambda reuse: MCDropout(bottom, passes=count, reuse=reuse),
        "mc_dropout, DynUNet, last step up": lambda reuse: MCDropout(last_step, passes=count, reuse=reuse),
        "mc_dropout, UNet, last step up": lambda reuse: MCDropout(late, passes=count, reuse=reuse),
        "mc_dropout, SegResNet, after its first layer": lambda reuse: MCDropout(start, passes=count, reuse=reuse),
        "dropout_injection, shipped, all layers": lambda reuse: DropoutInjection(plain, passes=count, reuse=reuse),
        "dropout_injection, shipped, last=3": lambda reuse: DropoutInjection(plain, last=3, passes=count, reuse=reuse),
        "dropout_injection, shipped, last=1": lambda reuse: DropoutInjection(plain, last=1, passes=count, reuse=reuse),
    }


def times(size: int, count: int, repeats: int) -> None:
    """Milliseconds a pass with reuse beside the naive loop: same network, same masks, same maps."""
    image, rows = torch.randn(1, 1, size, size, size), []
    for name, make in cases(count).items():
        both = {reuse: make(reuse) for reuse in (True, False)}
        with torch.inference_mode():
            maps = [passes(image).distribution.moments().stacked() for passes in both.values()]
            runs = {str(key): lambda p=p: p(image).distribution.moments() for key, p in both.items()}
            found = interleaved(runs, repeats)
        ours, naive = (1e3 * found[str(key)] / count for key in (True, False))
        same = "yes" if torch.equal(*maps) else "NO"
        rows.append([name, f"{ours:.1f}", f"{naive:.1f}", f"{naive / ours:.2f}x", same])
    columns = ["method, network, random layers", "ms a pass, reuse", "ms a pass, naive", "faster", "same maps"]
    show(f"Reuse of what comes before the first random layer: {count} passes, {size}^3, 3 classes", columns, rows)


def stream(name: str, count: int) -> Network:
    """A stream of so many passes of a network."""
    net = dynunet(lambda key: "upsamples.2" in key, SMALL) if name == "mc_dropout" else shipped(SMALL)
    options = {"passes": count}
    if name == "ensemble":
        return PASSES[name]([net] * count)
    if name == "tta":
        options = {"symmetries": "none", "intensities": [1 + 0.01 * i for i in range(count)]}
    return PASSES[name](net, **options)


def peak(name: str, count: int, size: int) -> float:
    """MiB that this process grew by over what it held before its first pass, at most."""
    image = torch.randn(1, 1, size, size, size)
    network = shipped(SMALL) if name in {"one pass", "passes stacked"} else stream(name, count)
    with torch.inference_mode():
        shipped(SMALL)(torch.randn(1, 1, 16, 16, 16))  # libraries load on first use
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if name == "passes stacked":
            torch.stack([network(image).distribution.mean.softmax(1) for _ in range(count)]).var(0)
        else:
            network(image).distribution.moments()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def memory(size: int) -> None:
    """Peak memory of each stream at 5 and at 30 passes, each in a process of its own."""
    rows = []
    for name in STREAMS:
        found = []
        for count in (5, 30):
            command = [sys.executable, __file__, "--peak", name, "--count", str(count), "--memory-size", str(size)]
            output = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
            found.append(float(output.stdout))
        rows.append([name, *(f"{value:.0f}" for value in found), f"{found[1] - found[0]:+.0f}"])
    show(
        f"Peak memory over the idle process, MiB, {size}^3, 3 classes, a small network",
        ["stream", "5 passes", "30", "growth"],
        rows,
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32, help="edge of the timed volume")
    parser.add_argument("--memory-size", type=int, default=64, help="edge of the volume whose memory is measured")
    parser.add_argument("--passes", type=int, default=10, help="of the timed streams")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", choices=STREAMS, help="measure one stream in this process and print MiB")
    parser.add_argument("--count", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    if options.peak:
        print(peak(options.peak, options.count, options.memory_size))
        return
    console.print(machine())
    times(options.size, options.passes, options.repeats)
    memory(options.memory_size)


if __name__ == "__main__":
    main()
