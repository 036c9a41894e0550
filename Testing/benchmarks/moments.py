"""Moments without sampling against sampling: time, error and memory. METHODS 1.2 to 1.4."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from common import console, machine, seconds, show

from uncertaintyseg.logits import Basis, Diagonal, GaussianLogits, Moments, Sum
from uncertaintyseg.logits.quadrature import default_nodes

RANK, SAMPLES = 16, 30
PEAK_RUNS = ("build", "closed", "nodes32", "nodes256", "samples5", "samples30")


def volume(classes: int, size: int, scale: float = 1.0) -> GaussianLogits:
    """Mixture-type logits of a cube of voxels: N(0, 9) means, rank 16 amplitudes, a diagonal; every voxel doubtful."""
    torch.manual_seed(0)
    shape = (1, classes, size, size, size)
    amplitude = torch.randn(1, RANK, size, size, size)
    basis = torch.randn(1, classes, RANK, 1, 1, 1) * scale / RANK**0.5
    return GaussianLogits(torch.randn(shape) * 3, Sum(Basis(amplitude, basis), Diagonal(torch.rand(shape) * scale**2)))


def sampled(logits: GaussianLogits, count: int, *, collapsed: bool) -> Moments:
    """Running moments of `count` samples: by MoB equation 13 (R + C normals a voxel), or collapsed (C normals)."""
    basis, diagonal = logits.covariance.parts
    matrix, total, square, entropy = basis.basis.flatten(2)[0], 0.0, 0.0, 0.0
    draws = logits.sample(count) if collapsed else (None for _ in range(count))
    for draw in draws:
        if draw is None:
            noise = torch.einsum("cr,brxyz->bcxyz", matrix, basis.amplitude * torch.randn_like(basis.amplitude))
            draw = logits.mean + noise + diagonal.variance.sqrt() * torch.randn_like(logits.mean)  # noqa: PLW2901
        p = draw.softmax(1)
        total, square = total + p / count, square + p.square() / count
        entropy = entropy + torch.special.entr(p).sum(1, keepdim=True) / count
    return Moments(total, square, entropy)


def rms(found: Moments, reference: Moments) -> float:
    """Root mean square error of E[p]."""
    return float((found.probability - reference.probability).square().mean().sqrt())


def quadrature_error() -> float:
    """Largest float32 error of p, E[p^2] and E[H] against 40001-point quadrature on the grid of METHODS 1.2."""
    z = np.linspace(-12, 12, 40001)
    weight = np.exp(-0.5 * z**2)
    weight /= weight.sum()
    worst = 0.0
    for mean in np.linspace(-20, 12, 33):
        for std in (0.001, 0.5, 1, 2, 4, 8, 20):
            p = 1 / (1 + np.exp(-np.clip(mean + std * z, -700, 700)))
            entropy = -np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0)
            entropy -= np.where(p < 1, (1 - p) * np.log(np.maximum(1 - p, 1e-300)), 0)
            logits = torch.tensor([0.0, mean], dtype=torch.float32).reshape(1, 2, 1, 1, 1)
            variance = torch.tensor([0.0, std**2], dtype=torch.float32).reshape(1, 2, 1, 1, 1)
            found = GaussianLogits(logits, Diagonal(variance)).moments()
            errors = (
                float(found.probability[0, 1]) - weight @ p,
                float(found.second_moment[0, 1]) - weight @ p**2,
                float(found.expected_entropy) - weight @ entropy,
            )
            worst = max(worst, *map(abs, errors))
    return worst


def peak(run: str, size: int) -> int:
    """Peak memory in MiB of one run in a process of its own."""
    command = [sys.executable, __file__, "--peak", run, "--size", str(size)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run_for_peak(run: str, size: int) -> None:
    """What `peak` starts: do one thing and print the peak memory of this process."""
    logits = volume(2 if run == "closed" else 3, size)
    if run == "closed":
        logits.moments()
    elif run.startswith("nodes"):
        logits.moments(int(run[5:]))
    elif run.startswith("samples"):
        sampled(logits, int(run[7:]), collapsed=True)
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM")))


def compare(classes: int, size: int) -> list[str]:
    """One row: time of ours, of 30 samples by equation 13 and of 30 collapsed samples, and the errors."""
    logits = volume(classes, size)
    ours = seconds(logits.moments, repeats=5)
    full = seconds(lambda: sampled(logits, SAMPLES, collapsed=False), repeats=1)
    collapsed = seconds(lambda: sampled(logits, SAMPLES, collapsed=True), repeats=1)
    errors = []
    for scale in (1.0, 3.0):
        small = volume(classes, 24, scale)
        reference = small.moments(None if classes == 2 else 4096)
        sampling = rms(sampled(small, SAMPLES, collapsed=False), reference)
        errors.append("closed" if classes == 2 else f"{rms(small.moments(), reference) / sampling:.2f}")
    nodes = "closed form" if classes == 2 else f"{default_nodes(classes)} nodes"
    times = [f"{ours:.3f}", f"{full:.2f} ({full / ours:.0f}x)", f"{collapsed:.2f} ({collapsed / ours:.1f}x)"]
    return [str(classes), nodes, *times, " / ".join(errors)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=96, help="voxels on each axis")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", choices=PEAK_RUNS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        if options.peak:
            run_for_peak(options.peak, options.size)
            return
        console.print(f"{options.size}^3 voxels, rank {RANK}, every voxel doubtful; {machine()}")
        show(
            f"Moments against {SAMPLES} samples",
            ["classes", "ours", "ours s", "equation 13 s", "collapsed s", "rms error ours / samples (std 1 / 3)"],
            [compare(classes, options.size) for classes in (2, 3, 5)],
        )
        console.print(f"two classes, float32, largest error against quadrature: {quadrature_error():.1e}")
    rows = [[run, str(peak(run, options.size))] for run in PEAK_RUNS]
    show("Peak memory, MiB (build: the inputs alone; closed has 2 classes, the others 3)", ["run", "MiB"], rows)


if __name__ == "__main__":
    main()
