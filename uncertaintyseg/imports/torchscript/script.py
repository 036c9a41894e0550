"""Loading TorchScript files (docs/adr/0013).

They hold operations of torch and no Python, so loading and running one runs no Python of its maker. But a few of
torch's operations reach beyond tensors, to files and to libraries: a file that names one is not loaded. And the parser
is native code, which a malformed file may crash: so only a person's own command imports a file.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import torch

from uncertaintyseg.errors import BundleError

_BEYOND = re.compile(r"\b(?:from_file|save)\b|\bops\s*\.\s*(?!prim\b|aten\b|quantized\b)\w+|\\x")
"""Operations on files, those of other libraries, and escapes that could hide a name."""
_LARGEST_CODE = 64 * 2**20


def load_script(path: Path) -> torch.jit.ScriptModule:
    """The network of a TorchScript file, on the CPU.

    Raises:
        BundleError: when the file is missing, is no TorchScript, or does more than compute.
    """
    if not path.is_file():
        raise BundleError(f"there is no file {path}.")
    try:
        _check_code(path)
        return torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError, OSError, zipfile.BadZipFile, NotImplementedError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0][:200]
        raise BundleError(f"{path} is not a TorchScript file that this torch can read: {reason}") from error


def _check_code(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = [part for part in archive.infolist() if "/code/" in part.filename and part.filename.endswith(".py")]
        if not parts:
            raise BundleError(
                f"{path} is not a TorchScript file: it holds no compiled network. Save one with "
                f"torch.jit.script(network).save('{path.stem}.ts'), or torch.jit.trace; weights alone are not enough."
            )
        if sum(part.file_size for part in parts) > _LARGEST_CODE:
            raise BundleError(f"{path} is not a TorchScript file that can be checked: its code is larger than 64 MB.")
        for part in parts:
            found = _BEYOND.search(archive.read(part).decode("utf-8", "replace"))
            if found:
                raise BundleError(
                    f"{path} does more than compute: its code has '{found[0]}', which may reach files or other "
                    "libraries. Only networks of torch's own operations are loaded."
                )
