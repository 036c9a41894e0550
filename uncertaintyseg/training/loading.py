"""Cases of a fit, preprocessed, and in an order drawn anew for each epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose
from torch import Tensor

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import TRAINING, Bundle, read_config
from uncertaintyseg.training.case_cache import Held, case_keys
from uncertaintyseg.training.case_store import CaseStore
from uncertaintyseg.training.held_cases import CasesAnew, CasesInMemory, CasesOnDisk
from uncertaintyseg.training.known_windows import AboutKnown
from uncertaintyseg.training.patches import PatchDrawn, StructureVoxels, margins
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.sampling import RareSliced, Rarity
from uncertaintyseg.training.steps import StepLoader

Progress = Callable[[str, float], None]
NO_STRUCTURES = (
    "none of the labels to learn from holds a voxel of any structure, so there is nothing to learn. "
    "Are these the labels of this model?"
)


def read_labelled(
    bundle: Bundle,
    cases: Sequence[Case],
    name: str,
    progress: Progress,
    *,
    kept: bool = True,
    voxels: bool = False,
    held: Held | None = None,
) -> Dataset:
    """The labelled ones of the cases, on the model's grid: "image" and "label" `[1, *spatial]`.

    Args:
        bundle: of the model.
        cases: those without a label are left out.
        name: of the set, for messages.
        progress: called with a line of text and 0.
        kept: read all of them now and keep them in memory; else each whenever it is asked for.
        voxels: find where their structures are, for patches (`patches.StructureVoxels`).
        held: where they are kept; None: in memory.

    Raises:
        InputError: without a labelled case, for a scan or label that cannot be used, or a disk that is full.
    """
    labelled = [case for case in cases if case.label]
    if not labelled:
        raise InputError(f"the {name} set has no labelled case; at least one is needed.")
    items = [
        {"image": str(case.image), "label": str(case.label)}
        | ({} if case.verified is None else {"verified": str(case.verified)})
        | ({"own_ids": True} if case.own_ids else {})
        for case in labelled
    ]
    transform = bundle.preprocessing()
    reading = f"{len(items)} {name} cases" + (f" {held.where}" if held and kept else "")
    if held and kept and held.kind == "disk":
        on_disk = CasesOnDisk(items, transform, CaseStore(held.folder), case_keys(bundle, labelled), patches=voxels)
        progress(f"reading {reading}", 0.0)
        on_disk.fill(held.workers, lambda count: progress(f"read {count} of {reading}", 0.0))
        return on_disk
    if voxels:
        transform = Compose([*transform.transforms, StructureVoxels()])
    if not kept:
        return Dataset(items, transform)
    progress(f"reading {reading}", 0.0)
    if held and held.kind == "none":
        return CasesAnew(items, transform)
    return CasesInMemory(items, transform, num_workers=None, progress=False)


def training_loader(bundle: Bundle, cases: Dataset, recipe: Recipe, *, threads: int = 1) -> DataLoader | StepLoader:
    """Augmented cases, patches or slices of them, in random order; `reseed` says in which.

    Args:
        bundle: whose train.json has the augmentation.
        cases: as of `read_labelled`; with `voxels` where the recipe draws patches.
        recipe: what is drawn, and how often.
        threads: that make cases ready, where an epoch is a number of steps.

    Raises:
        InputError: for a rare class that the model does not have, labels that hold no structure at all, or patches
            of slices.
        BundleError: for a train.json without augmentation.
    """
    if not any((case["label"] > 0).any() for case in cases):
        raise InputError(NO_STRUCTURES)
    transforms = read_config(bundle.folder / TRAINING).get_parsed_content("augmentation").transforms
    whole = recipe.foreground is None and not recipe.slices
    if whole and any((case["label"] == IGNORED).any() for case in cases):
        transforms = [AboutKnown(recipe.crop), *transforms]
    sampler = weights = None
    if recipe.slices or recipe.rare_labels:
        rarity, labels = Rarity(recipe.rare_labels, recipe.rare_weight, len(bundle.labels) + 1), _Labels(cases)
        if recipe.steps_per_epoch:
            weights = rarity.weights(labels, slices=recipe.slices)
        else:
            sampler = rarity.sampler(labels, slices=recipe.slices)
        transforms = [RareSliced(rarity), *transforms] if recipe.slices else transforms
    first = deepcopy  # a copy: what is kept in memory must stay as it is
    if recipe.foreground is not None:
        if recipe.slices:
            raise InputError("'recipe.foreground' draws patches of volumes, not of slices: leave out one of the two.")
        first = PatchDrawn(recipe.crop, margins(transforms, recipe.crop), recipe.foreground, recipe.batch_size)
    transform = Compose([first, *transforms])
    if recipe.steps_per_epoch:
        return StepLoader(
            cases, transform, weights, steps=recipe.steps_per_epoch, batch_size=recipe.batch_size, threads=threads
        )
    return DataLoader(
        Dataset(cases, transform),
        batch_size=recipe.batch_size,
        sampler=sampler,
        shuffle=None if sampler else True,
        num_workers=0,
    )


class _Labels(Sequence):
    """The labels of cases, each read when it is asked for."""

    def __init__(self, cases: Dataset) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Tensor:
        return self.cases[index]["label"]


def reseed(loader: DataLoader | StepLoader, seed: int) -> None:
    """Make order and augmentation of the next epoch depend on the seed alone."""
    torch.manual_seed(seed)
    if isinstance(loader, StepLoader):
        loader.seed = seed
        return
    loader.dataset.transform.set_random_state(seed)
    if loader.sampler.generator is not None:
        loader.sampler.generator.manual_seed(seed)


def as_tensors(batch: dict, device: torch.device, non_blocking: bool = False, **_: object) -> tuple[Tensor, Tensor]:
    """Image and label as plain tensors: operations on MetaTensor are slower."""
    image, label = (torch.as_tensor(batch[key]).to(device, non_blocking=non_blocking) for key in ("image", "label"))
    return image.as_subclass(Tensor), label.as_subclass(Tensor).long()
