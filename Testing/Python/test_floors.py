"""Imports go down only: between the floors of the house, and between the rooms of the library."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("SlicerUncertaintySeg", "Testing", "models", "monailabel_app", "sample_data", "uncertaintyseg")
OURS = {
    "SlicerUncertaintySeg",
    "UncertaintySegLib",
    "headless_slicer",
    "monailabel_app",
    "slicer_host",
    "uncertaintyseg",
}
SLICER = {"vtk", "slicer", "qt", "ctk", "PythonQt", "mrml"}
SERVER = {"monailabel", "fastapi", "starlette", "uvicorn", "monailabel_app"}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "startup": set(),
    "wire": set(),
    "tokens": {"errors"},
    "workers": {"errors", "startup"},
    "logits": {"errors"},
    "measures": {"logits", "wire"},
    "heads": {"errors", "logits", "measures", "wire"},
    "backbones": {"errors"},
    "data": {"errors"},
    "segmenter": {"backbones", "errors", "heads"},
    "metrics": {"errors"},
    "active": {"errors", "metrics", "wire"},
    "review": {"errors", "logits", "metrics", "wire"},
    "inference": {
        "active", "backbones", "data", "errors", "heads", "logits", "measures", "metrics", "review", "segmenter",
        "wire", "workers",
    },
    "imports": {
        "backbones", "data", "errors", "heads", "inference", "logits", "measures", "segmenter", "wire",
    },
    "training": {"data", "errors", "heads", "inference", "logits", "measures", "segmenter", "wire"},
    "planning": {
        "backbones", "data", "errors", "heads", "imports", "inference", "measures", "review", "segmenter", "startup",
        "training", "wire", "workers",
    },
    "simulation": {"active", "data", "errors", "inference", "metrics", "training", "workers"},
    "cli": {
        "active", "data", "errors", "imports", "inference", "metrics", "planning", "review", "simulation", "startup",
        "tokens", "training", "wire", "workers",
    },
}  # fmt: skip
"""Which rooms of the library a room may look into; a new one says here where it stands."""


LOADERS = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False", "numpy.load": "allow_pickle=False"}
"""What unpickles unless it is told not to."""


@dataclass(frozen=True)
class Source:
    """What a file says.

    Attributes:
        imports: Full names of what it imports, `from a import b` as a.b, with the line.
        unsafe: Calls of `LOADERS` without their option: the line, and the option.
    """

    imports: list[tuple[str, int]]
    unsafe: list[tuple[int, str]]


@cache
def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if ".venv" not in path.parts)


@cache
def source(path: Path) -> Source:
    found = Source([], [])
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.imports.extend((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            prefix = ".".join(part for part in (base, node.module) if part)
            found.imports.extend((f"{prefix}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            wanted = LOADERS.get(ast.unparse(node.func))
            if wanted and wanted not in {ast.unparse(keyword) for keyword in node.keywords}:
                found.unsafe.append((node.lineno, wanted))
    return found


def wrong(folder: str, is_wrong) -> list[str]:
    """Where a file of the folder imports something that `is_wrong(top-level name)`."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(folder)
        for name, line in source(path).imports
        if is_wrong(name.split(".")[0])
    ]


def test_every_floor_is_there():
    for floor in FLOORS:
        assert (ROOT / floor).is_dir(), floor
    assert len(sources("uncertaintyseg")) > 30


def test_the_slicer_module_needs_nothing_that_slicer_lacks():
    allowed = set(sys.stdlib_module_names) | {"numpy", "vtk", "slicer", "qt", "ctk", "SampleData", "UncertaintySegLib"}
    host = str(Path("SlicerUncertaintySeg/headless_slicer"))  # no part of the extension
    found = wrong("SlicerUncertaintySeg", lambda name: name not in allowed)
    assert not [line for line in found if not line.startswith(host)]
    assert not wrong(host, lambda name: name not in allowed - {"qt", "ctk", "UncertaintySegLib"} | {"headless_slicer"})


def test_the_library_knows_neither_server_nor_slicer():
    demo = str(Path("uncertaintyseg/cli/demo"))  # says early that the wheel is missing
    assert not [line for line in wrong("uncertaintyseg", SLICER.__contains__) if not line.startswith(demo)]
    assert not wrong("uncertaintyseg", SERVER.__contains__)


def test_only_the_demo_looks_at_the_slicer_module():
    demo = str(Path("uncertaintyseg/cli/demo"))
    found = wrong("uncertaintyseg", (OURS - {"uncertaintyseg"}).__contains__)
    assert not [line for line in found if not line.startswith(demo)]


def test_the_command_line_starts_without_viewer_server_or_network():
    heavy = sorted({"torch", "monai", "UncertaintySegLib", "slicer_host", "slicer", "monailabel"})
    program = f"import sys, uncertaintyseg.cli; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.strip() == "[]"


def test_the_server_knows_no_viewer():
    assert not wrong("monailabel_app", (SLICER | OURS - {"uncertaintyseg", "monailabel_app"}).__contains__)


def test_sample_data_needs_the_library_only():
    assert not wrong("sample_data", (SERVER | SLICER | OURS - {"uncertaintyseg"}).__contains__)


def test_models_are_data():
    assert not sources("models")


@pytest.mark.parametrize("floor", FLOORS)
def test_nobody_imports_torchvision_or_what_needs_it(floor):
    forbidden = ("torchvision", "monailabel.transform.post", "monailabel.tasks.infer.bundle", "torchmetrics")
    assert not [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(floor)
        for name, line in source(path).imports
        if name.startswith(forbidden)
    ]


@pytest.mark.parametrize("floor", FLOORS)
def test_nothing_unpickles(floor):
    assert not wrong(floor, PICKLES.__contains__)
    for path in sources(floor):
        for line, wanted in source(path).unsafe:
            pytest.fail(f"{path.relative_to(ROOT)}:{line} needs {wanted}")


MODULE_ROOMS = {
    "errors": set(),
    "server": {"errors"},
    "scene": {"errors", "server"},
    "logic": {"errors", "scene", "server"},
    "panel": {"errors", "logic", "scene", "server"},
}
"""The rooms of the Slicer module, each with those it may look into."""


@pytest.mark.parametrize("room", sorted(MODULE_ROOMS))
def test_a_room_of_the_module_looks_down_only(room):
    library = ROOT / "SlicerUncertaintySeg" / "UncertaintySegLib"
    own = [
        p for p in sources("SlicerUncertaintySeg") if p.is_relative_to(library / room) or p == library / f"{room}.py"
    ]
    assert own
    forbidden = {f"UncertaintySegLib.{other}" for other in {*MODULE_ROOMS} - {room, *MODULE_ROOMS[room]}}
    assert not [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in own
        for name, line in source(path).imports
        if ".".join(name.split(".")[:2]) in forbidden
    ]


def test_no_file_of_the_module_needs_itself_by_way_of_others():
    library = ROOT / "SlicerUncertaintySeg" / "UncertaintySegLib"
    files = {".".join(path.relative_to(library.parent).with_suffix("").parts): path for path in sources(str(library))}
    needs = {
        name: {
            part for full, _line in source(path).imports for part in (full, full.rpartition(".")[0]) if part in files
        }
        for name, path in files.items()
    }
    assert needs["UncertaintySegLib.logic.session"] > {"UncertaintySegLib.logic.undo"}
    while leaves := {name for name, wanted in needs.items() if not wanted}:
        needs = {name: wanted - leaves for name, wanted in needs.items() if name not in leaves}
    assert not needs


def test_the_way_to_the_server_knows_no_slicer_and_only_the_panel_knows_qt():
    for room, unknown in {"server": SLICER, "scene": {"qt", "ctk"}, "logic": {"qt", "ctk"}}.items():
        assert not wrong(f"SlicerUncertaintySeg/UncertaintySegLib/{room}", unknown.__contains__)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "uncertaintyseg").parts[0].removesuffix(".py")


def test_every_room_says_where_it_stands():
    assert {room_of(path) for path in sources("uncertaintyseg")} - {"__init__"} == set(ROOMS)


def test_the_rooms_are_in_order():
    """No two rooms look into each other, however long the way round."""
    left = dict(ROOMS)
    while left:
        ready = [room for room, below in left.items() if not below & set(left)]
        assert ready, f"{sorted(left)} look into each other"
        left = {room: below for room, below in left.items() if room not in ready}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_looks_down_only(room):
    found = []
    for path in sources("uncertaintyseg"):
        if room_of(path) != room:
            continue
        for name, line in source(path).imports:
            parts = name.split(".")
            if parts[0] == "uncertaintyseg" and parts[-1] != parts[0] and parts[1] in {*ROOMS} - {room, *ROOMS[room]}:
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not found


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_has_what_it_says_that_it_offers(room):
    module = importlib.import_module(f"uncertaintyseg.{room}")
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []
