"""`uncertaintyseg evaluate --compare`: other models, methods and earlier results on the same cases."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from uncertaintyseg.cli.console import console
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle, find_bundle

_DRAWN = 6
"""Structures in a picture, the first ones."""
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")


def runs_to_compare(
    names: Sequence[str], bundle: Bundle, folders: Sequence[Path]
) -> tuple[list[tuple[Bundle, str | None]], dict[str, dict[str, Any]]]:
    """What --compare names: models with their method, and earlier results by the name of their file.

    Args:
        names: given once or several times, with commas between: a method on MODEL, a model, MODEL:METHOD, or a file.
        bundle: MODEL.
        folders: where further models are.

    Raises:
        InputError: when a name is none of these.
    """
    from uncertaintyseg.inference.methods import methods

    known, runs, earlier = methods(), [], {}
    for name in (name.strip() for text in names for name in text.split(",") if name.strip()):
        model, _, method = name.partition(":")
        if name.endswith(".json"):
            earlier[Path(name).stem] = earlier_result(Path(name))
        elif name in known:
            runs.append((bundle, name))
        else:
            runs.append((find_bundle(model, *folders), method or None))
    return runs, earlier


def check_titles(titles: Sequence[str]) -> None:
    """Refuse a run that is there twice.

    Raises:
        InputError: when two have the same title.
    """
    for title in titles:
        if titles.count(title) > 1:
            raise InputError(f"--compare: {title} would be compared with itself; name each run once.")


def earlier_result(path: Path) -> dict[str, Any]:
    """What `evaluate --json` wrote.

    Raises:
        InputError: when the file is something else, or of a version that kept less of each case.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}).") from error
    rows = result.get("cases") if isinstance(result, dict) else None
    if not (rows and {"structures", "failed"} <= result.keys() and all("bins" in row for row in rows)):
        raise InputError(f"{path}: not what this version's `uncertaintyseg evaluate --json` writes; evaluate again.")
    return result


def show_comparison(found: Mapping[str, Any]) -> None:
    """Figures of each run, called A, B, ... for the width of a terminal, and the tests between them, on stderr."""
    count = f"{len(found['cases'])} cases of {found['subjects']} subjects"
    letters = {title: _letter(number) for number, title in enumerate(found["pooled"])}
    for title, letter in letters.items():
        console.print(f"[bold]{letter}[/bold]  {escape(title)}", highlight=False)
    table = Table("measure", "structure", "run", "over cases, 95 %", "pooled", title=f"The same {count}")
    for measure, structures in found["measures"].items():
        for structure, runs in structures.items():
            for title, figure in runs.items():
                table.add_row(
                    measure, structure, letters[title], "{mean:.4f}, {lo:.4f} to {hi:.4f}".format(**figure),
                    _pooled(found["pooled"][title], measure, structure),
                )  # fmt: skip
    console.print(table)
    tests = Table("measure", "structure", "runs", "difference, 95 %", "p", "Holm", title="Wilcoxon, paired")
    for test in found["tests"]:
        tests.add_row(
            test["measure"], test["structure"], f"{letters[test['b']]} - {letters[test['a']]}",
            "{mean:+.4f}, {lo:+.4f} to {hi:+.4f}".format(**test["difference"]),
            f"{test['p']:.2g}", f"{test['p_holm']:.2g}", style="bold" * (test["p_holm"] < 0.05),
        )  # fmt: skip
    console.print(tests)
    for case, reasons in found["left_out"].items():
        for title, message in reasons.items():
            text = f"{case} counts for none, for {title} lacks it: {message}"
            console.print(f"[yellow]Left out:[/yellow] {escape(text)}", highlight=False)


def _letter(number: int) -> str:
    """A, B, ..., Z, A1, B1, ..."""
    return chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")


def _pooled(pot: Mapping[str, Any], measure: str, structure: str) -> str:
    """The pooled figure, where there is one."""
    figure = pot["structures"].get(structure, pot).get(measure)
    return "" if figure is None else f"{figure if isinstance(figure, float) else figure['mean']:.4f}"


def comparison_picture(found: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw each measure of the cases as violins with boxes, a run beside the other.

    Args:
        found: of `inference.comparison.compare`.
        results: the JSON of `evaluate` by title.
        path: of the PNG file.
    """
    from matplotlib.figure import Figure

    from uncertaintyseg.data.writing import write_bytes

    panels = [(m, s) for m, structures in found["measures"].items() for s in list(structures)[:_DRAWN]]
    rows = -(-len(panels) // 3)
    figure = Figure(figsize=(12, 1 + 3 * rows), layout="constrained")
    figure.suptitle(f"The same {len(found['cases'])} cases")
    axes = list(figure.subplots(rows, 3, squeeze=False).flat)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    for place, (measure, structure) in zip(axes, panels, strict=False):
        _draw(place, found["cases"], results, measure, structure)
    handles = axes[0].collections[: len(results)]
    figure.legend(handles, list(results), loc="outside lower center", ncols=min(len(results), 3))
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_bytes(path, buffer.getvalue())


def _draw(
    axes: Any, cases: Sequence[str], results: Mapping[str, Mapping[str, Any]], measure: str, structure: str
) -> None:
    from uncertaintyseg.inference.comparison import ALL, values_of

    axes.set_title(measure if structure == ALL else f"{measure}, {structure}", fontsize=9)
    axes.set_xticks([])
    for number, result in enumerate(results.values(), start=1):
        rows = [row for row in result["cases"] if row["id"] in cases]
        values = [value for value in values_of(rows, measure, structure) if value == value]  # noqa: PLR0124 - no NaN
        color = _COLORS[(number - 1) % len(_COLORS)]
        if len(set(values)) > 1:
            (body,) = axes.violinplot([values], [number], widths=0.8, showextrema=False)["bodies"]
            body.set(facecolor=color, alpha=0.35)
        else:
            axes.scatter([number] * len(values), values, color=color)
        axes.boxplot([values], positions=[number], widths=0.18, showfliers=False, manage_ticks=False)
        spread = [number + 0.3 * ((i * 0.618) % 1 - 0.5) for i in range(len(values))]
        axes.plot(spread, values, "o", color=color, markersize=3)
