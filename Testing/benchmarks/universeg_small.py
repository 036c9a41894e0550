"""A small UniverSeg of our own, trained on tasks that are not those it is judged on: the shipped `universeg_small`.

    python Testing/benchmarks/universeg_small.py runs/cold_start
    uncertaintyseg import runs/cold_start/universeg_small.safetensors --patch 64 --output runs

It goes on where a kill left it, in the same folder.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from common import told
from monai.data import MetaTensor
from safetensors.torch import save_file
from torch import Tensor, nn

from uncertaintyseg.backbones import UniverSeg
from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.data.phantom import make_phantom
from uncertaintyseg.data.scan import read_label, read_scan
from uncertaintyseg.data.slices import PLANES, OntoSlicesd, padded
from uncertaintyseg.errors import InputError

SOURCES = ("totalsegmentator_examples", "msd_spleen_samples", "sct_testing_data")
"""Data that it learns from; hippocampus and ultrasound are left out wholly, for it is judged on them."""
SIZE, FEATURES = 64, (32, 32, 32, 32)
PHANTOMS = 40
MOST_EXAMPLES, BATCH, RATE = 8, 4, 1e-3
INVENTED = 0.5
"""Share of the episodes that are of invented shapes."""
EMPTY, EMPTY_FROM = 0.25, 0.5
"""Share of the targets in which the structure is absent, and from what share of the time on: shapes come first."""
_STORED = 2 * SIZE
"""Pixels of a stored slice's side, so that a part of it can be shown."""
_FEWEST_PIXELS, _FEWEST_SLICES, _MOST_SLICES = 40, 4, 24
_KEEP_SECONDS = 120


class Task(NamedTuple):
    """A structure in a plane: slices `[N, side, side]`, its masks, the scan of each, and slices `[M, *]` without it."""

    images: Tensor
    masks: Tensor
    scans: Tensor
    empty: Tensor


def tasks(progress: Callable[[str, float], None]) -> list[Task]:
    """All tasks there are: structures of phantoms together, of real scans each by itself."""
    found: dict[tuple[str, str, int], list[tuple[Tensor, Tensor, int, Tensor]]] = {}
    for scan, (name, image, label) in enumerate(_scans(progress)):
        for plane in PLANES:
            put = OntoSlicesd(_STORED, plane)({"image": image, "label": label})
            images, ids = (padded(put[key].as_tensor()[0].movedim(-1, 0), _STORED) for key in ("image", "label"))
            for number in ids.unique().tolist():
                masks = ids == number
                pixels = masks.flatten(1).sum(1)
                kept, empty = (_some(which) for which in (pixels >= _FEWEST_PIXELS, pixels == 0))
                if number and len(kept):
                    part = (images[kept].float(), masks[kept], scan, images[empty].float())
                    found.setdefault((name, plane, int(number)), []).append(part)
    joined = [
        Task(
            torch.cat([part[0] for part in parts]),
            torch.cat([part[1] for part in parts]),
            torch.cat([torch.full((len(part[0]),), part[2]) for part in parts]),
            torch.cat([part[3] for part in parts]),
        )
        for parts in found.values()
    ]
    return [task for task in joined if len(task.images) >= _FEWEST_SLICES]


def _some(which: Tensor) -> Tensor:
    """Places of slices, not too many of a scan, far from each other."""
    places = which.nonzero().flatten()
    return places[:: math.ceil(len(places) / _MOST_SLICES) or 1]


def _scans(progress: Callable[[str, float], None]) -> Iterator[tuple[str, MetaTensor, MetaTensor]]:
    """Real scans, each with the first label on its grid, and phantoms."""
    for source in SOURCES:
        folder = find_real_data(source)
        labels = sorted((folder / "labels").iterdir()) if folder else []
        for path in sorted((folder / "images").iterdir()) if folder else []:
            progress(f"reading {path.name}", 0.0)
            scan = read_scan(path)
            label = next((one for one in (_on_grid(file, scan) for file in labels) if one is not None), None)
            if label is not None:
                yield path.name, scan, label
    for number in range(PHANTOMS):
        case = make_phantom((7, number), raters=1)
        affine = torch.from_numpy(np.asarray(case.affine, dtype=np.float64))
        yield (
            "phantom",
            *(MetaTensor(torch.as_tensor(values)[None], affine=affine) for values in (case.image, case.label)),
        )


def _on_grid(path: Path, scan: MetaTensor) -> MetaTensor | None:
    try:
        return read_label(path, like=scan)
    except InputError:
        return None


def episodes(pool: list[Task], seed: int, step: int, empty: float = 0.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch: targets and their masks `[B, 1, H, W]`, examples and theirs `[B, S, 1, H, W]`.

    Those of a step are always the same. A query is of another scan than its examples where the task has several, else
    it is another slice; in a share `empty` of them the structure is absent.
    """
    rng = np.random.default_rng((seed, step))
    count, batch = int(rng.integers(1, MOST_EXAMPLES + 1)), []
    while len(batch) < BATCH:
        if rng.random() < INVENTED:
            batch.append(_varied(*invented(count + 1, rng, empty=rng.random() < empty), rng))
            continue
        task = pool[rng.integers(len(pool))]
        query = int(rng.integers(len(task.images)))
        others = (task.scans != task.scans[query]).nonzero().flatten()
        if not len(others):
            others = (torch.arange(len(task.images)) != query).nonzero().flatten()
        chosen = torch.from_numpy(rng.choice(others.numpy(), count, replace=len(others) < count))
        where = torch.cat([torch.tensor([query]), chosen])
        images, masks = task.images[where], task.masks[where]
        if len(task.empty) and rng.random() < empty:
            images[0], masks[0] = task.empty[rng.integers(len(task.empty))], False
        batch.append(_varied(images, masks, rng))
    images, masks = (torch.stack(parts)[:, :, None] for parts in zip(*batch, strict=True))
    return images[:, 0], masks[:, 0], images[:, 1:], masks[:, 1:]


def invented(count: int, rng: np.random.Generator, *, empty: bool) -> tuple[Tensor, Tensor]:
    """Slices `[N, side, side]` in 0..1 of a made-up body and the masks of one of its structures.

    Regions are where one of several smooth random fields is the largest. Each slice is the same body, bent another way;
    a region has its own brightness and grain. The first slice lacks the structure if it is to be empty.
    """
    regions = int(rng.integers(3, 10))
    chosen = int(rng.integers(regions))
    fields = _smooth(regions, int(rng.integers(3, 9)), rng)
    grid = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), [count, 1, _STORED, _STORED], False)
    bends = _smooth(2 * count, 4, rng).view(count, 2, _STORED, _STORED).movedim(1, -1)
    grid = grid + float(rng.uniform(0.05, 0.25)) * bends
    ids = F.grid_sample(fields.expand(count, *fields.shape), grid, padding_mode="reflection", align_corners=False)
    if empty:
        ids[0, chosen] = -torch.inf
    ids = ids.argmax(1)
    bright = rng.uniform(0, 1, regions) + rng.normal(0, 0.05, (count, regions))
    grain = rng.uniform(0, 0.1, regions)
    images = torch.from_numpy(np.take_along_axis(bright, ids.flatten(1).numpy(), 1)).float().view(ids.shape)
    noise = torch.from_numpy(rng.standard_normal(ids.shape, np.float32))
    images = images + torch.from_numpy(grain).float()[ids] * noise
    width = int(rng.integers(1, 4)) * 2 - 1
    images = F.avg_pool2d(images[:, None], width, 1, width // 2)[:, 0]
    images = images + float(rng.uniform(0, 0.3)) * _smooth(count, 3, rng)
    low, high = images.amin((1, 2), True), images.amax((1, 2), True)
    return (images - low) / (high - low), ids == chosen


def _smooth(count: int, knots: int, rng: np.random.Generator) -> Tensor:
    """Random fields `[count, side, side]` with so many knots a side."""
    values = torch.from_numpy(rng.standard_normal((1, count, knots, knots), np.float32))
    return F.interpolate(values, (_STORED, _STORED), mode="bicubic")[0]


def _varied(images: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """`[N, SIZE, SIZE]`: the task turned, inverted and cropped as a whole, then each slice moved and made brighter."""
    axes = [axis for axis in (1, 2) if rng.random() < 0.5]
    images, masks = images.flip(axes), masks.float().flip(axes)
    if rng.random() < 0.5:
        images, masks = images.mT, masks.mT
    if rng.random() < 0.3:
        images = 1 - images
    n = len(images)
    zoom = rng.uniform(1, 3) if rng.random() < 0.6 else 1
    places = masks.nonzero()[:, [2, 1]].double().mean(0).nan_to_num(_STORED / 2) / (_STORED / 2) - 1
    centre = (1 - 1 / zoom) * np.clip(places.numpy() + rng.normal(0, 0.2, 2), -1, 1)
    angle, scale = rng.normal(0, 0.15, n), zoom * np.exp(rng.normal(0, 0.12, n))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(n, 2, 2)
    moved = centre[:, None] + rng.normal(0, 0.1 / zoom, (n, 2, 1))
    how = torch.from_numpy(np.concatenate([turn / scale[:, None, None], moved], 2)).float()
    grid = F.affine_grid(how, [n, 1, SIZE, SIZE], False)
    images = F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]
    masks = F.grid_sample(masks[:, None], grid, mode="nearest", align_corners=False)[:, 0]
    if rng.random() < 0.4:  # another window of intensities
        low, high = np.quantile(images.numpy(), [rng.uniform(0, 0.4), rng.uniform(0.7, 1)])
        images = (images - float(low)) / max(float(high - low), 0.05)
    gamma = torch.from_numpy(np.exp(rng.normal(0, 0.3, (n, 1, 1)))).float()
    noise = torch.from_numpy(rng.normal(0, rng.uniform(0, 0.05), images.shape)).float()
    return (images.clamp(0, 1) ** gamma + noise).clamp(0, 1), masks


def loss_of(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross entropy and one minus the soft Dice, mean over the batch."""
    p = logits.sigmoid()
    overlap = (2 * (p * masks).sum((1, 2, 3)) + 1) / ((p + masks).sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + (1 - overlap).mean()


def train(options: argparse.Namespace) -> None:
    """Train for some hours of CPU time in all, kept every two minutes."""
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    kept, progress = output / "state.pt", told("train")
    pool = tasks(progress)
    torch.manual_seed(options.seed)
    network = UniverSeg(FEATURES)
    optimiser = torch.optim.AdamW(network.parameters(), RATE)
    step, spent, mean = 0, 0.0, float("nan")
    if kept.is_file():
        state = torch.load(kept, weights_only=True)
        if state["seed"] != options.seed:
            raise SystemExit(f"{kept} is of seed {state['seed']}: name another folder, or that seed.")
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent, mean = state["step"], state["spent"], state["loss"]
    print(
        f"{len(pool)} tasks, {sum(p.numel() for p in network.parameters()):,} parameters, step {step}", file=sys.stderr
    )
    start, last, limit = time.process_time() - spent, time.monotonic(), 3600 * options.hours
    while (spent := time.process_time() - start) < limit:
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * spent / limit))
        target, mask, images, masks = episodes(pool, options.seed, step, EMPTY * (spent >= EMPTY_FROM * limit))
        loss = loss_of(network(target, images, masks), mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        value = loss.item()
        mean = value if math.isnan(mean) else 0.99 * mean + 0.01 * value
        progress(f"step {step}, loss {mean:.3f}, {spent / 60:.0f} of {limit / 60:.0f} CPU minutes", spent / limit)
        if time.monotonic() - last > _KEEP_SECONDS:
            _keep(output, network, optimiser, seed=options.seed, step=step, spent=spent, loss=mean)
            last = time.monotonic()
    _keep(output, network, optimiser, seed=options.seed, step=step, spent=spent, loss=mean)
    print(f"{output / 'universeg_small.safetensors'}: step {step}, loss {mean:.3f}", file=sys.stderr)


def _keep(output: Path, network: nn.Module, optimiser: torch.optim.Optimizer, **about: Any) -> None:
    """Both files whole or as they were."""
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), **about}
    torch.save(state, output / "state.new")
    (output / "state.new").replace(output / "state.pt")
    save_file(network.state_dict(), output / "weights.new")
    (output / "weights.new").replace(output / "universeg_small.safetensors")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for its state and weights")
    parser.add_argument("--hours", type=float, default=1.35, help="of CPU time in all")
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
