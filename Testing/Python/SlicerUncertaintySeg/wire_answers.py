"""What a healthy server says of one phantom: itself, its models, and a result."""

from __future__ import annotations

import copy

import nibabel as nib
import numpy as np

MAPS = {
    "predictive_entropy": {"unit": "nats", "range": [0, 1.0986], "source": "total"},
    "mutual_information": {"unit": "nats", "range": [0, 1.0986], "source": "epistemic"},
}
ALL_MAPS = {
    **MAPS,
    "error_probability": {"unit": "1", "range": [0, 1], "source": "total"},
    "anomaly": {"unit": "1", "range": [0, 1], "source": "total"},
    "probability_organ": {"unit": "1", "range": [0, 1], "source": "total"},
}
CURVE = [
    {"threshold": threshold, "coverage": coverage, "reviewed_ml": reviewed_ml, "regions": regions}
    for threshold, coverage, reviewed_ml, regions in ((0.05, 0.9, 14.0, 2), (0.2, 0.96, 6.0, 2), (0.5, 0.99, 1.5, 1))
]
STRUCTURES = [
    {
        "name": "organ",
        "id": 1,
        "volume_ml": 17.214,
        "volume_ml_95": [16.1, 18.42],
        "interval_method": "79 coherent samples",
        "interval_coverage": 0.95,
        "mean_risk": 0.0421,
        "expected_dice": 0.953,
        "dice_method": "mean over 79 drawn shapes",
        "flag": None,
        "shape": {
            "components": 2,
            "area_mm2": None,
            "surface_mm2": 3210.52,
            "eccentricity": 0.8123,
            "elongation": 1.4321,
            "centroid_mm": [12.34, -5.6, 7.0],
            "box_ijk": [[3, 4, 5], [12, 13, 14]],
            "box_mm": [[1.5, -20.0, 0.0], [25.5, 10.0, 15.0]],
        },
    },
    {
        "name": "lesion",
        "id": 2,
        "volume_ml": 0.52,
        "volume_ml_95": None,
        "interval_method": "none: this head has no coherent samples",
        "mean_risk": 0.2134,
        "expected_dice": None,
        "flag": "mean risk above 0.2",
    },
]
METHODS = [
    {"name": "dropout_injection", "summary": "dropout put on the layers", "passes": 30, "options": [
        {"name": "passes", "kind": "integer", "default": 30, "low": 1, "high": 4096, "text": "How often it runs."},
        {"name": "p", "kind": "number", "default": 0.01, "low": 0, "high": 0.99, "text": "Share that is dropped."},
        {"name": "granularity", "kind": "choice", "default": "channel", "choices": ["channel", "element"]},
        {"name": "spells", "kind": "of a later version", "default": 1},
    ]},
    {"name": "tta", "summary": "the image mirrored", "passes": 2, "options": [
        {"name": "scales", "kind": "numbers", "default": [1.0], "low": 0.1, "high": 4, "fewest": 1, "most": 3},
        {"name": "models", "kind": "choices", "default": ["a", "b"], "choices": ["a", "b", "c"], "fewest": 2},
    ]},
]  # fmt: skip
RUN_OPTIONS = [
    {"name": "seed", "kind": "integer", "default": 0, "low": 0, "high": 2**63 - 1, "text": "Of the draws."},
    {"name": "crf", "kind": "switch", "default": False, "text": "Neighbours together."},
    {"name": "crf_weight", "kind": "number", "default": 3.0, "low": 0, "high": 100, "needs": "crf"},
    {"name": "threshold", "kind": "choice", "default": None, "choices": ["otsu", "fixed"], "text": "Of the label."},
    {
        "name": "threshold_of",
        "kind": "choice",
        "default": "foreground",
        "choices": ["foreground", "variance"],
        "needs": "threshold",
    },
    {"name": "threshold_fixed", "kind": "number", "default": 0.5, "low": 0, "high": 6, "needs": "threshold=fixed"},
]
PROVENANCE = {"model": "phantom_low_rank", "head": "low_rank", "weights_checksum": "ab12cd", "seed": 3}


def info(labels: list[dict]) -> dict:
    """What `GET /info/` says: one model of ours and a stock one."""
    model = {"type": "segmentation", "labels": {label["name"]: label["id"] for label in labels}, "dimension": 3}
    ours = {"head": "low_rank", "bundle": "phantom_low_rank", "maps": list(MAPS), "checksum": "ab12cd"}
    calibration = {"trainable": True, "version": 2, "calibrated": False, "calibration": "never calibrated"}
    offered = {"methods": METHODS, "run_options": RUN_OPTIONS, "origin": "Imported from nnU-Net (folder Dataset004)."}
    models = {
        "phantom_low_rank": {**model, **ours, **calibration, **offered, "description": "a phantom"},
        "stock_model": {**model, "description": "a stock model"},
    }
    strategies = {
        "random": {"description": "any case", "reads": []},
        "predictive_entropy": {"description": "highest entropy", "reads": ["predictive_entropy"]},
    }
    return {"name": "Uncertainty server", "version": "0.1.0", "models": models, "strategies": strategies}


def result(key: str, labels: list[dict], regions: list[dict], maps: tuple[str, ...] = tuple(MAPS)) -> dict:
    """What an inference, a correction or a review ends with."""
    base = f"/uncertainty/v1/results/{key}"
    risk = {
        "result": key,
        "maps": {name: {**ALL_MAPS[name], "url": f"{base}/maps/{name}.nii.gz"} for name in maps},
        "structures": copy.deepcopy(STRUCTURES),
        "regions": regions,
        "remaining_error_ml": round(sum(region["expected_error_ml"] for region in regions), 4),
        "risk_coverage": CURVE,
        "guarantee": None,
        "guarantee_reason": "never calibrated",
        "provenance": PROVENANCE,
    }
    names = {label["name"]: label["id"] for label in labels}
    return {"risk": risk, "label": f"{base}/label.nii.gz", "label_names": names, "labels": labels}


def calibrated(answer: dict) -> dict:
    """A result with expected errors along its curve, and a promise."""
    answer = copy.deepcopy(answer)
    for number, point in enumerate(answer["risk"]["risk_coverage"], start=1):
        point |= {"expected_error": number / 100, "lo": 0.0, "hi": number / 50}
    return {**answer, "risk": {**answer["risk"], **promise(answer["risk"]["result"], 0.05)}}


def promise(key: str, alpha: float, delta: float | None = None) -> dict:
    """What is promised of a result at a bound: the laxer it is, the less is to be reviewed."""
    if key == "p1cked":
        return {"guarantee": None, "guarantee_reason": "uncalibrated: this case was picked for its risk"}
    made = {
        "kind": "crc" if delta is None else "rcps", "alpha": alpha, "delta": delta, "threshold": 4 * alpha,
        "cases": 40, "reachable_alpha": 0.024, "text": f"If it is reviewed, at most {100 * alpha:g} % stays wrong.",
    }  # fmt: skip
    return {"guarantee": made, "guarantee_reason": None}


def find_regions(case: dict, labels: list[dict]) -> list[dict]:
    """One region a structure: where the phantom's risk is highest in it, the worst first."""
    label, risk = (nib.load(case[name]) for name in ("label", "risk"))
    values, risks = np.asarray(label.dataobj), np.asarray(risk.dataobj)
    voxel_ml = abs(np.linalg.det(label.affine[:3, :3])) / 1000
    regions = []
    for structure in labels:
        inside = values == structure["id"]
        ijk = np.unravel_index(np.where(inside, risks, -1).argmax(), values.shape)
        where = np.argwhere(inside)
        regions.append(
            {
                "structure": structure["name"],
                "ijk": [int(index) for index in ijk],
                "ras_mm": [round(float(mm), 3) for mm in nib.affines.apply_affine(label.affine, ijk)],
                "bounding_box": [where.min(0).tolist(), where.max(0).tolist()],
                "volume_ml": round(inside.sum() * voxel_ml, 4),
                "expected_error_ml": round(float(risks[inside].sum() * voxel_ml), 4),
                "kind": "border",
            }
        )
    regions.sort(key=lambda region: -region["expected_error_ml"])
    return [{"rank": rank, **region} for rank, region in enumerate(regions, start=1)]
