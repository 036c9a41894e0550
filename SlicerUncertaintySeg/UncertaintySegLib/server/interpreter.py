"""The Python that runs our child processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Creation flag that keeps Windows from opening a console for a child; 0 elsewhere."""


def slicer_python() -> str:
    """Return Slicer's interpreter, or this one where there is no Slicer.

    `PythonSlicer` is a launcher that sets the environment of the interpreter beside it, `python-real`. Where that
    environment is there already (`PYTHONHOME` says so) the interpreter is started directly: it then is our own child,
    and gets our pipe and not the launcher's. Children started with it must get Slicer's environment, as `subprocess`
    does it.

    Raises:
        FileNotFoundError: This process is no Python, and there is no `PythonSlicer`.
    """
    launcher = shutil.which("PythonSlicer")
    if launcher is not None:
        direct = shutil.which("python-real", path=str(Path(launcher).parent))
        return direct if direct is not None and "PYTHONHOME" in os.environ else launcher
    if "python" not in Path(sys.executable).name.lower():
        raise FileNotFoundError(f"no PythonSlicer beside {sys.executable}")
    return sys.executable
