"""The report as one HTML page that needs no other file.

Its markup is what both browsers and Qt's text engine (for the PDF) understand: tables, not flexible boxes. All names
come from a server and are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from slicer.i18n import tr as _

from UncertaintySegLib.logic import selection as texts
from UncertaintySegLib.logic.report import Report, by_risk, headline
from UncertaintySegLib.server.replies import Structure

_PLANE_WIDTH, _CURVE_WIDTH, _THREE_D_WIDTH = 180, 260, 170
_KINDS = {"border": _("border"), "missed": _("labelled too little"), "extra": _("labelled too much")}
_PROVENANCE = ("model", "head", "weights_checksum", "calibration", "seed", "samples", "device", "dtype", "code_version")

_STYLE = """
@page { size: A4; margin: 12mm; }
body { font-family: Arial, Helvetica, sans-serif; font-size: 9pt; color: #111111; background-color: #ffffff; }
h1 { font-size: 14pt; margin-top: 0; margin-bottom: 2px; }
h2 { font-size: 11pt; margin-top: 10px; margin-bottom: 3px; }
p { margin-top: 2px; margin-bottom: 2px; }
.note { color: #555555; font-size: 8pt; }
.warning { color: #b71c1c; font-weight: bold; }
.grid td, .grid th { border-bottom: 1px solid #bbbbbb; padding: 2px 5px; text-align: left; vertical-align: top; }
.grid { border-collapse: collapse; }
.grid .number { text-align: right; }
td, th { word-break: break-word; }
tr, img { page-break-inside: avoid; }
@media screen { html { max-width: 186mm; margin: 8mm auto; } }
"""


def html(report: Report) -> str:
    """Return the page."""
    title = _("Segmentation risk: {case}").format(case=report.case)
    body = "".join(
        (
            f"<h1>{escape(title)}</h1>",
            _head(report),
            _summary(report),
            _regions(report),
            _structures(by_risk(report.result)),
            _provenance(report),
        )
    )
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"><title>'
        f"{escape(title)}</title><style>{_STYLE}</style></head><body>{body}</body></html>"
    )


def _head(report: Report) -> str:
    warning = _("For research only; not for clinical decisions.")
    about = _("{date}. The case is named by its id only: nothing else here tells whose it is.").format(
        date=report.made.strftime("%Y-%m-%d %H:%M %Z")
    )
    return f'<p class="warning">{escape(warning)}</p><p class="note">{escape(about)}</p>'


def _summary(report: Report) -> str:
    selection = report.selection
    said = [f"<p><b>{escape(texts.sentence(selection))}</b></p>"] if selection.point is not None else []
    kind = "" if selection.calibrated else ' class="warning"'
    said.append(f"<p{kind}>{escape(texts.promise(selection))}</p>")
    said.append(f'<p class="note">{escape(texts.footnote(selection))}</p>')
    said.append(f"<p>{escape(headline(report.result))}</p>")
    cells = [f'<td valign="top">{"".join(said)}</td>']
    if report.curve:
        picture = _picture(report.curve, _CURVE_WIDTH, _("Review curve"))
        cells.append(f'<td width="{_CURVE_WIDTH + 8}" valign="top">{picture}</td>')
    if report.three_d:
        picture = _picture(report.three_d, _THREE_D_WIDTH, _("3D view"))
        cells.append(f'<td width="{_THREE_D_WIDTH + 8}" valign="top">{picture}</td>')
    return f'<table width="100%" cellspacing="0" cellpadding="4"><tr>{"".join(cells)}</tr></table>'


def _regions(report: Report) -> str:
    if not report.regions:
        return ""
    rows = []
    for region, pictures in report.regions:
        text = _("{rank}. {structure}, {kind}: {error:.2f} mL expected to be wrong of {volume:.2f} mL").format(
            rank=region.rank,
            structure=_spaced(region.structure),
            kind=_KINDS.get(region.kind, region.kind),
            error=region.expected_error_ml,
            volume=region.volume_ml,
        )
        cells = "".join(
            f'<td width="33%">{_picture(content, _PLANE_WIDTH, name)}</td>' for name, content in pictures.items()
        )
        rows.append(f'<tr><td colspan="{max(len(pictures), 1)}">{escape(text)}</td></tr><tr>{cells}</tr>')
    shown = [f"<h2>{escape(_('The worst places'))}</h2>"]
    if report.colors:
        caption = _("Outlines: structures. Colours: {colors}.").format(colors=report.colors)
        shown.append(f'<p class="note">{escape(caption)}</p>')
    shown.extend(f'<table width="100%" cellspacing="0" cellpadding="2">{row}</table>' for row in rows)
    return "".join(shown)


def _structures(structures: Sequence[Structure]) -> str:
    columns = {
        _("Structure"): 24,
        _("Volume (mL)"): 10,
        _("95 % interval (mL)"): 16,
        _("Mean risk"): 8,
        _("Expected Dice"): 11,
        _("Expected error (mL)"): 12,
        _("Look because"): 19,
    }
    rows = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in structures)
    head = "".join(f'<th width="{width}%">{escape(text)}</th>' for text, width in columns.items())
    title = escape(_("Structures, the riskiest first"))
    table = f'<table class="grid" width="100%" cellspacing="0"><thead><tr>{head}</tr></thead>{rows}</table>'
    return f"<h2>{title}</h2>{table}"


def _cells(row: Structure) -> Iterable[str]:
    yield f"<td>{escape(_spaced(row.name))}</td>"
    interval = "–" if row.volume_ml_95 is None else " – ".join(_ml(end) for end in row.volume_ml_95)
    numbers = (
        _ml(row.volume_ml),
        interval,
        _number(row.mean_risk, 3),
        _number(row.expected_dice, 3),
        _number(row.expected_error_ml, 2),
    )
    yield from (f'<td class="number" align="right">{escape(number)}</td>' for number in numbers)
    yield f"<td>{escape(row.flag or '')}</td>"


def _provenance(report: Report) -> str:
    known = report.result.provenance
    facts = [f"{key.replace('_', ' ')}: {known[key]}" for key in _PROVENANCE if known.get(key) is not None]
    facts += [f"{key}: {value}" for key, value in sorted((known.get("params") or {}).items())]
    facts += [f"{name} {version}" for name, version in report.versions.items()]
    facts.append(_("result {key}").format(key=report.result.key))
    title = escape(_("Where this comes from"))
    return f'<h2>{title}</h2><p class="note">{escape("; ".join(facts))}</p>'


def _spaced(name: str) -> str:
    """Return a name that can be broken into lines."""
    return name.replace("_", " ")


def _ml(volume: float) -> str:
    return f"{volume:.2f}" if volume < 100 else f"{volume:.0f}"


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def _picture(content: bytes, width: int, name: str) -> str:
    data = base64.b64encode(content).decode("ascii")
    return f'<img width="{width}" alt="{escape(name)}" src="data:image/png;base64,{data}">'
