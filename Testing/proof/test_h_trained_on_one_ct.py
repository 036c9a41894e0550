"""A small network that nnU-Net trains on one CT, and that has seen no other: `audit` ranks damaged labels first."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pytest

from Testing.proof.one_ct import DAMAGES, NUMBERS, Pieces, piece_name
from uncertaintyseg.inference.audit import ORDERS
from uncertaintyseg.inference.bundle import Bundle, find_bundle
from uncertaintyseg.inference.predictors import load_predictor

GOOD = 0.8
"""Dice from which a structure counts as one that the network knows."""


class Trained(NamedTuple):
    pieces: Pieces
    folder: Path
    """Of nnU-Net's training."""
    bundle: Bundle
    minutes: float


@pytest.fixture(scope="module")
def trained(shared_data, quick, tmp_path_factory) -> Trained:
    """A training by nnU-Net, imported by the command."""
    pytest.importorskip("nnunetv2")
    folder = tmp_path_factory.mktemp("one_ct")
    pieces = Pieces(shared_data / "totalsegmentator_examples", folder)
    pieces.write()
    started = time.monotonic()
    training = pieces.train(quick=quick)
    minutes = (time.monotonic() - started) / 60
    command("import", training, "--name", "one_ct", "--output", folder / "models")
    return Trained(pieces, training, find_bundle("one_ct", folder / "models"), minutes)


@pytest.fixture(scope="module")
def labels(trained) -> dict[int, np.ndarray]:
    """Our labels of the slabs that were held out."""
    predictor = load_predictor(trained.bundle)
    return {number: predictor.predict(trained.pieces.image(number)).label for number in trained.pieces.held_out}


@pytest.fixture(scope="module")
def dice(trained, labels) -> dict[str, float]:
    """Of each structure, over all slabs that were held out."""
    ours = np.concatenate(list(labels.values()), axis=2)
    theirs = np.concatenate([trained.pieces.of(number) for number in labels], axis=2)
    sizes = {name: (ours == i).sum() + (theirs == i).sum() for name, i in NUMBERS.items()}
    return {name: float(2 * ((ours == i) & (theirs == i)).sum() / sizes[name]) for name, i in NUMBERS.items()}


def test_the_import_gives_the_labels_of_nnunet(trained, labels, record_property):
    said = f"{len(trained.pieces.training)} slabs of 12 mm of one CT, {trained.minutes:.0f} min on one core"
    record_property(
        "what nnunetv2 trained", f"a small network on {said}: it has seen one CT only, and is good for no other"
    )
    record_property("version of nnunetv2", version("nnunetv2"))
    theirs = {n: nib.load(trained.folder / "fold_0" / "validation" / f"{piece_name(n)}.nii.gz") for n in labels}
    differ = sum(int((labels[n] != np.asarray(image.dataobj)).sum()) for n, image in theirs.items())
    foreground = sum(int((np.asarray(image.dataobj) > 0).sum()) for image in theirs.values())
    record_property("held-out voxels that differ from nnU-Net's own validation", f"{differ} of {foreground} labelled")
    assert differ <= 0.005 * foreground  # nnU-Net adds windows up in half precision


def test_it_knows_structures_where_it_was_not_trained(dice, quick, record_property):
    record_property(
        "Dice on the slabs between, of TotalSegmentator's label",
        ", ".join(f"{name} {value:.3f}" for name, value in dice.items()),
    )
    judged = [damage for damage in DAMAGES if dice[damage.structure] >= GOOD]
    assert quick or len(judged) >= 4, "so few damages are in structures that it knows that a ranking says nothing"


def test_the_audit_ranks_labels_that_were_damaged_first(trained, dice, quick, tmp_path, record_property):
    data = trained.pieces.write_damaged(tmp_path / "data")
    rows = audited(trained, data)
    known = [row for row in rows if dice[row["name"]] >= GOOD]
    damaged = set().union(*(damage.rows for damage in DAMAGES))
    wanted = {row for row in damaged if dice[row[1]] >= GOOD}
    places = {(row["case"], row["name"]): place for place, row in enumerate(known, start=1)}
    for damage in DAMAGES:
        for case, name in sorted(damage.rows):
            [row] = [row for row in rows if (row["case"], row["name"]) == (case, name)]
            place = (
                f"rank {places[case, name]} of {len(known)}" if (case, name) in wanted else "not judged, Dice too low"
            )
            record_property(
                f"{case}, {name}: {damage.kind}",
                f"{place}; excess {row['excess_error_ml']:.1f} mL of {row['expected_error_ml']:.1f} mL expected error",
            )
    clean = [row for row in known if (row["case"], row["name"]) not in damaged]
    worst = "none"
    if clean:
        worst = "{case}, {name}, excess {excess_error_ml:.1f} mL of {expected_error_ml:.1f} mL".format(**clean[0])
    record_property("worst of the labels left as they were", worst)
    for order, key in ORDERS.items():
        ranked = sorted(known, key=key)[: len(wanted)]
        found = sum((row["case"], row["name"]) in wanted for row in ranked)
        record_property(f"damaged rows among the first {len(wanted)}, by {order}", f"{found} of {len(wanted)}")
    assert quick or {(row["case"], row["name"]) for row in known[: len(wanted)]} == wanted


def audited(trained: Trained, data: Path) -> list[dict[str, Any]]:
    """Rows of the command's ranking, as it ranks when nothing else is said."""
    said = command("audit", data, "--model", trained.bundle.name, "--models", trained.bundle.folder.parent, "--json")
    result = json.loads(said)
    assert not result["failed"]
    return result["structures"]


def command(*arguments: object) -> str:
    """Run `uncertaintyseg` and return what it printed."""
    line = [sys.executable, "-m", "uncertaintyseg.cli", *map(str, arguments)]
    return subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout
