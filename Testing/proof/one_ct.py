"""One CT cut across into slabs, every other one held out: a data set for nnU-Net, and labels damaged on purpose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.data.writing import write_volume

SCAN, LABEL = "images/example_ct.nii.gz", "labels/example_seg_fast_force_split.nii.gz"
STRUCTURES = {
    "liver": ["liver"],
    "spleen": ["spleen"],
    "kidneys": ["kidney_left", "kidney_right"],
    "aorta": ["aorta"],
    "urinary_bladder": ["urinary_bladder"],
    "hips": ["hip_left", "hip_right"],
    "gluteus_maximus": ["gluteus_maximus_left", "gluteus_maximus_right"],
    "back_muscles": ["autochthon_left", "autochthon_right"],
}
"""What the network learns, of what TotalSegmentator has; a network so small takes long to tell left from right."""
PLANES = 4
"""Of a slab: 12 mm, and a window of the network."""
DATASET = "Dataset801_OneCT"
_TRAINING = Path(__file__).with_name("one_ct_training.py")

Change = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Damage:
    """What is done to one label.

    Attributes:
        piece: number of the slab, one of those that are held out.
        structure: its name.
        kind: what is done, for people.
        change: does it: label `[X, Y, Z]` and the structure's id to the damaged label.
        also: the other structure that is wrong then.
    """

    piece: int
    structure: str
    kind: str
    change: Change
    also: str | None = None

    @property
    def rows(self) -> set[tuple[str, str]]:
        """Case and structure of what an audit has to find."""
        return {(piece_name(self.piece), name) for name in (self.structure, self.also) if name}


def shifted(label: np.ndarray, structure: int) -> np.ndarray:
    """15 mm to the right, where there is background."""
    inside, damaged = label == structure, np.where(label == structure, 0, label)
    moved = ndimage.shift(inside, (5, 0, 0), order=0)
    return np.where(moved & (damaged == 0), structure, damaged)


def left_swapped(label: np.ndarray, structure: int) -> np.ndarray:
    """The left one has the id of the structure before it."""
    left = np.arange(label.shape[0])[:, None, None] < label.shape[0] // 2
    return np.where((label == structure) & left, structure - 1, label)


def eroded(label: np.ndarray, structure: int) -> np.ndarray:
    """One voxel of its surface is background."""
    inside = label == structure
    return np.where(inside & ~ndimage.binary_erosion(inside, border_value=1), 0, label)


def third_cut_off(label: np.ndarray, structure: int) -> np.ndarray:
    """The third of it that is rightmost is background."""
    voxels = np.argwhere(label == structure)
    damaged = label.copy()
    damaged[tuple(voxels[voxels[:, 0] > np.quantile(voxels[:, 0], 2 / 3)].T)] = 0
    return damaged


def right_removed(label: np.ndarray, structure: int) -> np.ndarray:
    """The right one is background: somebody forgot it."""
    right = np.arange(label.shape[0])[:, None, None] >= label.shape[0] // 2
    return np.where((label == structure) & right, 0, label)


def with_hole(label: np.ndarray, structure: int) -> np.ndarray:
    """A ball of 24 mm about its innermost voxel is background."""
    inside = label == structure
    depth = ndimage.distance_transform_edt(inside)
    centre = np.unravel_index(np.argmax(depth), label.shape)
    distance = np.linalg.norm(np.indices(label.shape) - np.reshape(centre, (3, 1, 1, 1)), axis=0)
    return np.where(inside & (distance <= 8), 0, label)


DAMAGES = (
    Damage(3, "urinary_bladder", "shifted by 15 mm", shifted),
    Damage(7, "gluteus_maximus", "the left one labelled as hip", left_swapped, also="hips"),
    Damage(11, "hips", "eroded by a voxel", eroded),
    Damage(19, "kidneys", "the right one removed", right_removed),
    Damage(23, "liver", "a third cut off", third_cut_off),
    Damage(25, "spleen", "a hole of 24 mm", with_hole),
)
"""Kinds and structures were fixed before any audit was run. The slabs were cut anew after audits by a network that knew
too little: the upper half of each old slab has the damage, and that of the spleen lies 24 mm lower."""
NUMBERS = {name: number for number, name in enumerate(STRUCTURES, start=1)}


def piece_name(number: int) -> str:
    return f"piece_{number:02d}"


class Pieces:
    """The slabs of the CT on disk, as nnU-Net's raw data.

    Args:
        data: folder of TotalSegmentator's examples.
        folder: for nnU-Net's three folders.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        scan, label = nib.load(data / SCAN), nib.load(data / LABEL)
        names = {segment.name: segment.value for segment in segments_in(data / LABEL)}
        theirs = np.asarray(label.dataobj)
        self.folder, self.affine = folder, scan.affine
        self.voxels = np.asarray(scan.dataobj).astype(np.float32)
        self.label = np.zeros(theirs.shape, np.uint8)
        for name, members in STRUCTURES.items():
            self.label[np.isin(theirs, [names[member] for member in members])] = NUMBERS[name]
        self.count = self.label.shape[2] // PLANES
        self.held_out = range(1, self.count - 1, 2)  # each lies between two that are trained on
        self.training = [number for number in range(self.count) if number not in self.held_out]

    @property
    def raw(self) -> Path:
        return self.folder / "raw" / DATASET

    def of(self, number: int) -> np.ndarray:
        """The label of a slab."""
        return self.label[..., number * PLANES : (number + 1) * PLANES]

    def image(self, number: int) -> Path:
        return self.raw / "imagesTr" / f"{piece_name(number)}_0000.nii.gz"

    def write(self) -> None:
        """Write the raw data set, and which slabs are for training."""
        for number in range(self.count):
            planes = self.voxels[..., number * PLANES : (number + 1) * PLANES]
            write_volume(self.image(number), planes, self.affine_of(number))
            write_volume(
                self.raw / "labelsTr" / f"{piece_name(number)}.nii.gz", self.of(number), self.affine_of(number)
            )
        _write_json(
            self.raw / "dataset.json",
            {
                "channel_names": {"0": "CT"},
                "labels": {"background": 0} | NUMBERS,
                "numTraining": self.count,
                "file_ending": ".nii.gz",
            },
        )
        split = {"train": list(map(piece_name, self.training)), "val": list(map(piece_name, self.held_out))}
        _write_json(self.folder / "preprocessed" / DATASET / "splits_final.json", [split])

    def affine_of(self, number: int) -> np.ndarray:
        moved = np.eye(4)
        moved[2, 3] = number * PLANES
        return self.affine @ moved

    def write_damaged(self, folder: Path) -> Path:
        """The slabs that are held out, with labels of which some are damaged."""
        damages = {damage.piece: damage for damage in DAMAGES}
        for number in self.held_out:
            label = self.of(number)
            if number in damages:
                damage = damages[number]
                label = damage.change(label, NUMBERS[damage.structure]).astype(np.uint8)
            name = f"{piece_name(number)}.nii.gz"
            write_volume(folder / "labels" / name, label, self.affine_of(number))
            (folder / "images").mkdir(exist_ok=True)
            shutil.copy(self.image(number), folder / "images" / name)
        return folder

    def train(self, *, quick: bool = False) -> Path:
        """Plan and preprocess by nnU-Net's own commands, train and validate by its trainer.

        Returns:
            The folder of the training.
        """
        self._run("nnUNetv2_extract_fingerprint", "-d", "801", "-np", "1")
        self._run("nnUNetv2_plan_experiment", "-d", "801")
        plans = self.folder / "preprocessed" / DATASET / "nnUNetPlans.json"
        _write_json(plans, small(json.loads(plans.read_text(encoding="utf-8"))))
        self._run("nnUNetv2_preprocess", "-d", "801", "-c", "3d_fullres", "-np", "1")
        # batches by the process that trains, or the seed would not fix them
        self._run("python", _TRAINING, DATASET, *(["quick"] if quick else []), loaders=0)
        [training] = (self.folder / "results" / DATASET).glob("*__nnUNetPlans__3d_fullres")
        return training

    def _run(self, command: str, *arguments: str | Path, loaders: int = 1) -> None:
        folders = {f"nnUNet_{name}": str(self.folder / name) for name in ("raw", "preprocessed", "results")}
        settings = {"nnUNet_n_proc_DA": str(loaders), "nnUNet_def_n_proc": "1", "nnUNet_compile": "f"}
        environment = os.environ | folders | settings | {"OMP_NUM_THREADS": "1"}
        subprocess.run([Path(sys.executable).with_name(command), *arguments], env=environment, check=True)


def small(plans: dict[str, Any]) -> dict[str, Any]:
    """nnU-Net's plans with a small network on voxels of 4.5 x 4.5 x 3 mm, whose window is a whole slab."""
    configuration = plans["configurations"]["3d_fullres"]
    configuration |= {"spacing": [3.0, 4.5, 4.5], "patch_size": [PLANES, 80, 88], "batch_size": 2, "batch_dice": True}
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": 4,
        "features_per_stage": [12, 24, 48, 64],
        "kernel_sizes": [[3, 3, 3]] * 4,
        "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 2, 2],
        "n_conv_per_stage_decoder": [1, 1, 1],
    }
    return plans


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))
