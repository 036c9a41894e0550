"""Write down what Python can reach of Slicer's and CTK's Qt classes, read from their headers, into `scriptable.json`.

    python Testing/slicer_host/read_headers.py 5.8.1 SLICER CTK 5.13 SLICER CTK

Each three arguments are a version and the source trees of that Slicer and of the CTK that its
`SuperBuild/External_CTK.cmake` names. Kept is what all of them have: the module has to run in the
oldest and in the newest.

PythonQt reaches, of a class without a generated wrapper, what its meta object has: properties, public slots, public
`Q_INVOKABLE` methods, signals, enums of `Q_ENUM` and its kin; and the public slots of a decorator class. A property
hides the method of its name. Other public methods cannot be called. Qt's own classes have generated wrappers.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

TABLE = Path(__file__).with_name("scriptable.json")
CLASSES = (
    *("ctkCollapsibleButton", "ctkCollapsibleGroupBox", "ctkMessageBox", "ctkPathLineEdit", "ctkSliderWidget"),
    *("qMRMLNodeComboBox", "qMRMLSegmentEditorWidget", "qMRMLSegmentsTableView", "qSlicerSegmentEditorAbstractEffect"),
    *("qSlicerLayoutManager", "qMRMLSliceWidget", "qMRMLSliceView", "qMRMLSliceControllerWidget"),
    *("qMRMLThreeDWidget", "qMRMLThreeDView", "qMRMLPlotWidget", "qMRMLPlotView"),
    *("qSlicerApplication", "qSlicerMainWindow", "qSlicerModuleSelectorToolBar", "qSlicerModuleManager"),
    *("qSlicerCoreIOManager", "qSlicerScriptedLoadableModule", "qSlicerScriptedLoadableModuleWidget"),
)
_NOISE = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/|^\s*#[^\n]*', re.DOTALL | re.MULTILINE)
_CLASS = re.compile(r"\bclass\s+(?:\w+_(?:EXPORT|Export)\s+)?(\w+)\s*(?:final\s*)?:\s*public\s+(\w+)[^{;]*\{")
_SECTION = re.compile(r"\b(public|protected|private)(\s+(?:slots|Q_SLOTS))?\s*:|\b(signals|Q_SIGNALS)\s*:")
_PROPERTY = re.compile(r"Q_PROPERTY\(\s*(.*?)\)\s*(?=\n|Q_|$)", re.DOTALL)
_ENUMS = re.compile(r"Q_(?:ENUMS?|FLAGS?)\(\s*([\w\s:]+)\)")
_METHOD = re.compile(r"[\w:<>*&\s,]*?[\s*&>](\w+)\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)\s*(?:const)?\s*$")
_KEYWORDS = re.compile(r"\b(virtual|static|inline|explicit|noexcept|override|Q_INVOKABLE|QVTK_OBJECT)\b")


@dataclass
class Scriptable:
    """What Python can reach of a class.

    Attributes:
        base: The class that it derives from.
        properties: Whether they can be written, by name.
        methods: Slots and invokable methods.
        signals: The argument types of each overload, first the one that `widget.signal.connect` takes.
        values: Names of the values of its enums.
    """

    base: str
    properties: dict[str, bool] = field(default_factory=dict)
    methods: set[str] = field(default_factory=set)
    signals: dict[str, list[str]] = field(default_factory=dict)
    values: set[str] = field(default_factory=set)

    def inherit(self, base: Scriptable) -> None:
        """Take over what a base class has."""
        self.base = base.base
        self.properties = {**base.properties, **self.properties}
        self.methods |= base.methods
        self.signals = {**base.signals, **self.signals}
        self.values |= base.values

    def keep(self, other: Scriptable) -> None:
        """Forget what another version of the class has not."""
        both = self.properties.keys() & other.properties.keys()
        self.properties = {name: self.properties[name] and other.properties[name] for name in both}
        self.methods &= other.methods
        shared = {name: [t for t in own if t in other.signals.get(name, ())] for name, own in self.signals.items()}
        self.signals = {name: types for name, types in shared.items() if types}
        self.values &= other.values


def read(text: str) -> dict[str, Scriptable]:
    """Return the classes that a header defines."""
    text = _NOISE.sub("", text)
    return {match[1]: _members(match[2], _block(text, match.end() - 1)) for match in _CLASS.finditer(text)}


def read_trees(*trees: Path) -> dict[str, Scriptable]:
    """Return the classes of the headers of some source trees, each with what its decorators add."""
    headers = [header for tree in trees for header in sorted(tree.rglob("*.h")) if "Testing" not in header.parts]
    found: dict[str, Scriptable] = {}
    decorators = []
    for header in headers:
        if header.name.endswith("PythonQtDecorators.h"):
            decorators.append(_NOISE.sub("", header.read_text(errors="replace")))
        elif header.name.startswith(("ctk", "qMRML", "qSlicer")):
            found.update(read(header.read_text(errors="replace")))
    text = "\n".join(decorators)
    of_objects = [(owner, name) for name, owner in re.findall(r"\b(\w+)\s*\(\s*(\w+)\s*\*\s*\w+", text)]
    of_classes = re.findall(r"\bstatic_([A-Za-z]+)_(\w+)\s*\(", text)
    for owner, name in of_objects + of_classes:
        if owner in found and not name.startswith(("new_", "delete_", "static_")):
            found[owner].methods.add(name)
    return found


def flat(classes: dict[str, Scriptable], name: str) -> Scriptable:
    """Return a class with all that it inherits before the first class of Qt or VTK."""
    whole = Scriptable(name)
    while whole.base in classes:
        whole.inherit(classes[whole.base])
    whole.methods -= whole.properties.keys()
    return whole


def _members(base: str, body: str) -> Scriptable:
    found = Scriptable(base)
    for match in _PROPERTY.finditer(body):
        words = match[1].replace("*", "* ").split()
        found.properties[words[words.index("READ") - 1]] = "WRITE" in words
    for name in re.findall(r"\w+", " ".join(_ENUMS.findall(body))):
        declared = re.search(rf"\benum\s+(?:class\s+)?{name.removesuffix('s')}s?\b[^{{;]*{{(.*?)}}", body, re.DOTALL)
        if declared:
            found.values |= set(re.findall(r"(\w+)\s*(?:=[^,]*)?(?:,|$)", declared[1].strip()))
    body = _without_braces(_PROPERTY.sub("", body))
    sections = list(_SECTION.finditer(body))
    for section, following in pairwise([*sections, None]):
        part = body[section.end() : following.start() if following else len(body)]
        for statement in part.split(";"):
            is_invokable = section[1] == "public" and bool(section[2] or "Q_INVOKABLE" in statement)
            method = _method(statement) if section[3] or is_invokable else None
            if method and section[3]:
                known = found.signals.setdefault(method[1], [])
                known += [types for types in _signatures(method[2]) if types not in known]
            elif method:
                found.methods.add(method[1])
    return found


def _block(text: str, start: int) -> str:
    """Return what stands between the brace at `start` and its partner."""
    depth = 0
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[start + 1 : start + brace.start()]
    return text[start + 1 :]


def _without_braces(text: str) -> str:
    """Return a class's text with a semicolon in the place of each body."""
    while (shorter := re.sub(r"\{[^{}]*\}", ";", text)) != text:
        text = shorter
    return text


def _method(statement: str) -> re.Match[str] | None:
    """Return name and arguments of a declaration."""
    statement = re.sub(r"=\s*(0|default|delete)\s*$", "", _KEYWORDS.sub("", statement).strip())
    return _METHOD.match(" ".join(statement.split()))


def _signatures(arguments: str) -> list[str]:
    """Return the argument types as Qt normalizes them: one more signature for each argument that may be left out."""
    types, required = [], 0
    for argument in filter(None, re.split(r",(?![^<]*>)", arguments.strip())):
        declared, default, _value = argument.partition("=")
        required += not default
        words = re.sub(r"\s*([*&])\s*", r"\1 ", re.sub(r"^\s*const\s+(.*)&", r"\1 ", declared)).split()
        is_named = len(words) > 1 and re.fullmatch(r"\w+", words[-1]) and words[-1] not in ("int", "long", "double")
        types.append(" ".join(words[:-1] if is_named else words))
    return [",".join(types[:count]) for count in range(len(types), required - 1, -1)]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="+", help="version, Slicer's tree, CTK's tree, and again")
    given = parser.parse_args().source
    table: dict[str, Scriptable] = {}
    for slicer, ctk in zip(given[1::3], given[2::3], strict=True):
        classes = read_trees(Path(ctk), Path(slicer))
        for name in CLASSES:
            table.setdefault(name, flat(classes, name)).keep(flat(classes, name))
    lines = []
    for name, row in table.items():
        parts = {
            "base": row.base,
            "properties": dict(sorted(row.properties.items())),
            "methods": sorted(row.methods),
            "signals": dict(sorted(row.signals.items())),
            "values": sorted(row.values),
        }
        body = ",\n  ".join(f"{json.dumps(part)}: {json.dumps(held)}" for part, held in parts.items())
        lines.append(f'"{name}": {{\n  {body}\n }}')
    versions = json.dumps(given[::3])
    TABLE.write_text(f'{{"slicer": {versions},\n "classes": {{\n ' + ",\n ".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main()
