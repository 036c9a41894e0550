"""Several evaluations side by side, on the cases that all of them have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from uncertaintyseg.data.splitting import subject_of
from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.comparing import holm, paired_test, pooled, ratio_with_interval

OF_STRUCTURES = ("dice", "hd95_mm", "surface_dice")
OF_CASES = ("nll", "brier", "ece")
ALL = "all"
"""In the place of a structure, where a measure is of the whole case."""


def compare(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Means, pooled figures and paired tests of several runs, on the same cases.

    Holm's correction runs over all pairs and structures of a measure.

    Args:
        results: the JSON of `evaluate` by title, two at least.

    Returns:
        The `comparison` of `uncertaintyseg evaluate --compare` (docs/metrics.md).

    Raises:
        InputError: when they have no case in common, know other structures, or lack figures of the cases.
    """
    rows = {title: {row["id"]: row for row in result["cases"]} for title, result in results.items()}
    structures = _structures(results)
    wanted = dict.fromkeys(case for found in rows.values() for case in found)
    wanted |= dict.fromkeys(case for result in results.values() for case in result["failed"])
    common = [case for case in wanted if all(case in found for found in rows.values())]
    if not common:
        raise InputError(f"{' and '.join(results)} have no case in common: evaluate them on the same data.")
    subjects = [subject_of(case) for case in common]
    kept = {title: [found[case] for case in common] for title, found in rows.items()}
    measures: dict[str, dict[str, dict[str, Any]]] = {}
    tests: list[dict[str, Any]] = []
    for measure in (*OF_STRUCTURES, *OF_CASES):
        family = []
        for structure in structures if measure in OF_STRUCTURES else [ALL]:
            values = {title: values_of(found, measure, structure) for title, found in kept.items()}
            measures.setdefault(measure, {})[structure] = {
                title: ratio_with_interval(column, [1] * len(column), subjects)._asdict()
                for title, column in values.items()
            }
            family += [
                {"measure": measure, "structure": structure, "a": a, "b": b}
                | paired_test(values[a], values[b], subjects)
                for a, b in combinations(values, 2)
            ]
        corrected = holm([test["p"] for test in family])
        tests += [{**test, "p_holm": p} for test, p in zip(family, corrected, strict=True)]
    return {
        "cases": common,
        "subjects": len(set(subjects)),
        "left_out": {
            case: {
                title: results[title]["failed"].get(case, "not evaluated")
                for title, found in rows.items()
                if case not in found
            }
            for case in wanted
            if case not in common
        },
        "measures": measures,
        "pooled": {title: pooled(found, subjects) for title, found in kept.items()},
        "tests": tests,
    }


def values_of(rows: Sequence[Mapping[str, Any]], measure: str, structure: str) -> list[float]:
    """A measure of each case; null of JSON becomes NaN."""
    found = [row[measure] if structure == ALL else row["structures"][structure][measure] for row in rows]
    return [math.nan if value is None else float(value) for value in found]


def _structures(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names that all results share."""
    (first, one), *others = ((title, list(result["structures"])) for title, result in results.items())
    for title, names in others:
        if set(names) != set(one):
            raise InputError(f"{title} knows {', '.join(names)}, but {first} {', '.join(one)}: compare like with like.")
    return one
