"""The configuration of a foreign MONAI bundle is a program: what it would run, and whether that is what was trusted.

A model folder made of it keeps the program, as it was, under `foreign/`, and its hash in the origin of its metadata.
Nothing of it is evaluated before both agree (docs/adr/0013).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle, read_config
from uncertaintyseg.inference.content import content_hash

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

FOREIGN = Path("foreign")
"""Where a model folder keeps the program."""
_NAMES = ("inference.json", "inference.yaml", "inference.yml")
_SUFFIXES = (".json", ".yaml", ".yml")


class Program:
    """The inference configuration of somebody else's MONAI bundle. Reading it evaluates nothing; `built` does.

    Args:
        folder: of the bundle.

    Raises:
        BundleError: for a folder without such a configuration, or one that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        path = program_in(folder)
        if path is None:
            raise BundleError(f"{folder} is no MONAI bundle: its configs folder has no {' or '.join(_NAMES[:2])}.")
        self.folder, self.path = folder, path

    @cached_property
    def parser(self) -> ConfigParser:
        """The configuration, not evaluated."""
        try:
            parser = read_config(self.path)
            sections = parser.get()
        except BundleError:
            raise
        except Exception as error:  # PyYAML has a family of its own
            raise BundleError(f"{self.path} cannot be read: {first_line(error)}") from error
        if not isinstance(sections, dict):
            raise BundleError(f"{self.path} cannot be read: it holds a {type(sections).__name__} and no sections.")
        parser["bundle_root"] = str(self.folder)
        if "device" in sections:
            parser["device"] = "cpu"
        return parser

    @property
    def sha256(self) -> str:
        """Of the configuration."""
        return content_hash(self.path)

    def runs(self) -> list[str]:
        """What it would run: the targets it names and the expressions it evaluates, each once.

        As it writes them, but for characters that a terminal would act on instead of showing them.
        """
        return sorted({_shown(text) for text in _running(self.parser.get(), "")})

    def built(self, name: str) -> Any:
        """Evaluate a section. This runs the program.

        Raises:
            BundleError: when there is no such section, or it cannot be built.
        """
        if name not in self.parser.get():
            raise BundleError(f"{self.path} has no '{name}'.")
        try:
            return self.parser.get_parsed_content(name)
        except Exception as error:  # a program raises what it likes
            raise BundleError(f"{self.path}: '{name}' cannot be built: {first_line(error)}") from error


def program_in(folder: Path) -> Path | None:
    """The inference configuration in the folder of a MONAI bundle."""
    return next((folder / "configs" / name for name in _NAMES if (folder / "configs" / name).is_file()), None)


def check_alone(program: Program) -> None:
    """Refuse a program that is more than its configuration: what is trusted would not be all that runs.

    Raises:
        BundleError: for a bundle with Python files, or a configuration that takes pieces of other files.
    """
    own = sorted(path.relative_to(program.folder).as_posix() for path in program.folder.rglob("*.py"))
    if own:
        raise BundleError(
            f"{program.folder} brings Python files of its own ({own[0]}); only bundles whose configuration names "
            "what is installed are imported."
        )
    borrowed = [text for text in program.runs() if text.startswith("%") and any(end in text for end in _SUFFIXES)]
    if borrowed:
        raise BundleError(f"{program.path} takes pieces of other files ({borrowed[0]}): write them into it.")


def trusted_program(folder: str) -> Program:
    """The foreign program in a model folder, if a person has trusted it and it is still the same.

    Raises:
        BundleError: if not.
    """
    bundle = Bundle.load(folder)
    origin, program = bundle.uncertainty.origin or {}, Program(Path(folder) / FOREIGN)
    if origin.get("trusted") is not True:
        raise BundleError(f"{folder} holds a program that nobody has trusted: import the MONAI bundle with --trust.")
    if origin.get("program_sha256") != program.sha256:
        raise BundleError(
            f"{program.path} is not the program that was trusted: its configuration has changed since. Import the "
            "MONAI bundle again."
        )
    return program


def first_line(error: BaseException) -> str:
    """The reason behind an error; MONAI wraps what went wrong."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().split("\n", maxsplit=1)[0]


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _running(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _running(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _running(inner, key)
    elif isinstance(value, str) and (key == "_target_" or value.startswith(("$", "%"))):
        yield value
