"""The report as one HTML page that needs no other file.

Its markup is what both browsers and Qt's text engine (for the PDF) understand: tables, not flexible boxes. All names
come from a server and are escaped.
"""

from __future__ import annotations

import base64
from html import escape

from slicer.i18n import tr as _

from UncertaintySegLib.logic import selection as texts
from UncertaintySegLib.logic import sizes, structures
from UncertaintySegLib.logic.report import Report
from UncertaintySegLib.logic.summary import KINDS, sentence, spaced, threshold
from UncertaintySegLib.server.results import InferResult

LEGEND_WIDTH, TIME_WIDTH = 300, 320  # pixels
_NAME_PERCENT, _FLAG_PERCENT = 24, 19
_PLANE_WIDTH, _CURVE_WIDTH, _THREE_D_WIDTH = 180, 260, 170
_PROVENANCE = ("model", "head", "weights_checksum", "calibration", "seed", "samples", "device", "dtype", "code_version")

_STYLE = """
@page { size: A4; margin: 12mm; }
body { font-family: Arial, Helvetica, sans-serif; font-size: 9pt; color: #111111; background-color: #ffffff; }
h1 { font-size: 14pt; margin-top: 0; margin-bottom: 2px; }
h2 { font-size: 11pt; margin-top: 10px; margin-bottom: 3px; }
p { margin-top: 2px; margin-bottom: 2px; }
.note { color: #555555; font-size: 8pt; }
.warning { color: #b71c1c; font-weight: bold; }
.grid td, .grid th { border-bottom: 1px solid #bbbbbb; padding: 2px 4px; text-align: left; vertical-align: top; }
.grid th { font-size: 7pt; }
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
            _over_time(report),
            _regions(report),
            _structures(report.result),
            _shapes(report.result),
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
    said = [f'<p class="summary"><b>{escape(sentence(report.result, selection))}</b></p>']
    if selection.point is not None:
        said.append(f"<p>{escape(texts.sentence(selection))}</p>")
    if cut := threshold(report.result):
        said.append(f'<p class="threshold">{escape(cut)}</p>')
    kind = "" if selection.calibrated else ' class="warning"'
    said.append(f"<p{kind}>{escape(texts.promise(selection))}</p>")
    said.append(f'<p class="note">{escape(texts.footnote(selection))}</p>')
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
    for rank, (region, pictures) in enumerate(report.regions, start=1):
        text = _("{rank}. {structure}, {kind}{frame}: {error} {unit} expected to be wrong of {size} {unit}").format(
            rank=rank,
            structure=spaced(region.structure),
            kind=KINDS.get(region.kind, region.kind),
            error=structures.volume(region.expected_error_ml, digits=3),
            size=structures.volume(region.volume_ml),
            unit=sizes.shown(report.result.size_unit),
            frame="" if region.frame is None else _(", frame {number}").format(number=region.frame + 1),
        )
        cells = "".join(
            f'<td width="33%">{_picture(content, _PLANE_WIDTH, name)}</td>' for name, content in pictures.items()
        )
        # A head stays on the page of its first row.
        head = f'<thead><tr><td colspan="{max(len(pictures), 1)}">{escape(text)}</td></tr></thead>'
        rows.append(f"{head}<tr>{cells}</tr>")
    shown = [f"<h2>{escape(_('The worst places'))}</h2>"]
    if report.colors:
        caption = _("Outlines: structures. Colours: {colors}.").format(colors=report.colors)
        shown.append(f'<p class="note">{escape(caption)}</p>')
    if report.legend:
        shown.append(f"<p>{_picture(report.legend, LEGEND_WIDTH, _('Colours'))}</p>")
    shown.extend(f'<table width="100%" cellspacing="0" cellpadding="2">{row}</table>' for row in rows)
    return "".join(shown)


def _over_time(report: Report) -> str:
    """The charts of a clip side by side, each with whose its lines are."""
    if not report.over_time:
        return ""
    cells = []
    for chart, content in report.over_time:
        lines = "; ".join(
            f'<span style="color: {_hex(color)}"><b>{"- -" if name == chart.dashed else "&#8212;"}</b></span> '
            f"{escape(spaced(name))}"
            for name, (_values, color) in chart.lines.items()
        )
        picture = _picture(content, TIME_WIDTH, chart.title)
        cells.append(f'<td width="50%" valign="top">{picture}<p class="note">{lines}</p></td>')
    title = escape(_("Over time"))
    return f'<h2>{title}</h2><table width="100%" cellspacing="0" cellpadding="2"><tr>{"".join(cells)}</tr></table>'


def _hex(color: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in color)


def _structures(result: InferResult) -> str:
    headings, rows = structures.table(result.structures, result.size_unit)
    last = len(headings) - 1
    numbers = (100 - _NAME_PERCENT - _FLAG_PERCENT) // (last - 1)
    widths = [_NAME_PERCENT, *[numbers] * (last - 1), _FLAG_PERCENT]
    head = "".join(f'<th width="{width}%">{escape(text)}</th>' for width, text in zip(widths, headings))
    body = "".join(f"<tr>{''.join(_cell(place, text, last) for place, text in enumerate(row))}</tr>" for row in rows)
    title = escape(_("Structures, those with the most expected to be wrong first"))
    return (
        f'<h2>{title}</h2><table class="grid structures" width="100%" cellspacing="0">'
        f"<thead><tr>{head}</tr></thead>{body}</table>"
    )


def _shapes(result: InferResult) -> str:
    headings, rows = structures.shapes(result.structures)
    if not rows:
        return ""
    numbers = (100 - _NAME_PERCENT) // (len(headings) - 1)
    head = "".join(
        f'<th width="{numbers if place else _NAME_PERCENT}%">{escape(text)}</th>' for place, text in enumerate(headings)
    )
    body = "".join(
        f"<tr>{''.join(_cell(place, text, len(row)) for place, text in enumerate(row))}</tr>" for row in rows
    )
    title = escape(_("Shapes of what is labelled"))
    return (
        f'<h2>{title}</h2><table class="grid shapes" width="100%" cellspacing="0">'
        f"<thead><tr>{head}</tr></thead>{body}</table>"
    )


def _cell(place: int, text: str, last: int) -> str:
    if place in (0, last):
        return f"<td>{escape(spaced(text))}</td>"
    return f'<td class="number" align="right">{escape(text or "–")}</td>'


def _provenance(report: Report) -> str:
    known = report.result.provenance
    facts = [f"{key.replace('_', ' ')}: {known[key]}" for key in _PROVENANCE if known.get(key) is not None]
    facts += [f"{key}: {value}" for key, value in sorted((known.get("params") or {}).items())]
    channels = list((known.get("channels") or {}).items())
    if channels:
        facts.append(_("pictures show {channel}").format(channel=channels[0][0]))
    facts += [f"{name}: {file}" for name, file in channels]
    facts += [f"{name} {version}" for name, version in report.versions.items()]
    facts.append(_("result {key}").format(key=report.result.key))
    title = escape(_("Where this comes from"))
    return f'<h2>{title}</h2><p class="note">{escape("; ".join(facts))}</p>'


def _picture(content: bytes, width: int, name: str) -> str:
    data = base64.b64encode(content).decode("ascii")
    return f'<img width="{width}" alt="{escape(name)}" src="data:image/png;base64,{data}">'
