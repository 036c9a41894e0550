#!/usr/bin/env python3
"""Set up and run the project with nothing but a Python: `python make.py demo|test|proof|setup`.

    setup   make .venv and install into it what the demo and the server need (the others do this by themselves)
    demo    the main job: studies, server, inference, risk maps in a Slicer scene, one HTML report
    test    the test suite, in two processes; installs first what only tests need
    proof   the slow proofs (soak, kills, fuzzing, MONAI Label's own suites); writes docs/proof.md

What follows the command is passed on: `python make.py test -k logits`, `python make.py demo --data FOLDER`.
Without the right PyTorch for your machine: set TORCH_INDEX_URL to the index that PyTorch's "Get started" page shows
for your platform (CPU or CUDA) before the first set-up; by default pip's own choice is taken.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
SUPPORTED = ((3, 10), (3, 11), (3, 12))
EXTRAS, TEST_EXTRAS = "server,viewer", "server,viewer,foundation,ray,test"
# nnU-Net's networks. Its package asks for timm, and that for torchvision, which these networks do not import.
WITHOUT_DEPENDENCIES = ["dynamic-network-architectures"]
# A file's tests stay in one process, and so do those of one server: Testing/Python/conftest.py, which also sees to it
# that a process that dies costs one test and not the run.
PYTEST = ["-m", "pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder"]
# What off-screen OpenGL and Qt need beyond a bare Debian or Ubuntu, by the library that shows it is there.
LIBRARIES = {
    "EGL": ["libegl1"],
    "EGL_mesa": ["libegl-mesa0", "libgl1-mesa-dri"],
    "GL": ["libgl1"],
    "X11": ["libx11-6"],
    "glib-2.0": ["libglib2.0-0"],
    "fontconfig": ["libfontconfig1"],
    "dbus-1": ["libdbus-1-3"],
    "xkbcommon": ["libxkbcommon0"],
}
APT = "apt-get install -y --no-install-recommends"
ORTHANC = ["orthanc", "orthanc-dicomweb"]


def main() -> int:
    """Run the command named on the command line."""
    commands = {"setup": lambda _: 0, "demo": demo, "test": test, "proof": proof}
    command, rest = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
    if command not in commands:
        print(__doc__)
        return 0 if command in ("-h", "--help") else 2
    problem = setup(tests=command in ("test", "proof"))
    if problem:
        print(f"make.py: {problem}", file=sys.stderr)
        return 2
    return commands[command](rest)


def demo(arguments: list[str]) -> int:
    """The main job, on phantoms or on real scans."""
    return run([PYTHON, "-m", "uncertaintyseg.cli", "demo", *arguments])


def test(arguments: list[str]) -> int:
    """The test suite."""
    dicom_server()
    return run([PYTHON, *PYTEST, *arguments])


def proof(arguments: list[str]) -> int:
    """The slow proofs."""
    dicom_server()
    return run([PYTHON, "-m", "Testing.proof", *arguments])


def run(command: list[object]) -> int:
    """Run a command in the project's folder with off-screen graphics."""
    quiet = {"VTK_DEFAULT_OPENGL_WINDOW": "vtkEGLRenderWindow", "QT_QPA_PLATFORM": "offscreen"}
    environment = {**(quiet if sys.platform == "linux" else {}), **os.environ}
    return subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=False).returncode


def setup(tests: bool) -> str | None:
    """Bring .venv up to date; returns at once when nothing changed, and a sentence when it cannot.

    Args:
        tests: Whether to add what only tests need.
    """
    problem = system_libraries() or (None if PYTHON.is_file() else make_environment())
    if problem:
        return problem
    index = os.environ.get("TORCH_INDEX_URL")
    torch = ["torch", *(["--index-url", index] if index else [])]
    installed_all = install("installed.txt", torch, ["-e", f".[{EXTRAS}]"], ["--no-deps", *WITHOUT_DEPENDENCIES])
    if tests and installed_all:
        installed_all = install("installed-tests.txt", ["-e", f".[{TEST_EXTRAS}]"])
    if not installed_all:
        return "pip could not install everything; its message is above. Check the network and run this again."
    return None


def make_environment() -> str | None:
    """Make .venv, or say what is missing."""
    interpreter = supported_python()
    if interpreter is None:
        return (
            f"Python {sys.version_info[0]}.{sys.version_info[1]} is not supported (MONAI Label needs 3.10 to 3.12) "
            "and no other was found. Install one, e.g. `apt-get install python3.11 python3.11-venv` or from "
            "python.org, and run this again with it: python3.11 make.py setup"
        )
    print("Making .venv ...", flush=True)
    if run([*interpreter, "-m", "venv", VENV]):
        shutil.rmtree(VENV, ignore_errors=True)
        return "python -m venv failed; on Debian and Ubuntu install it with `apt-get install python3-venv`."
    return None


def install(stamp: str, *requirements: list[str]) -> bool:
    """Let pip install each list unless the stamp in .venv says that it is done; False if pip fails."""
    if (VENV / stamp).is_file() and (VENV / stamp).read_text() == fingerprint():
        return True
    print("Installing (a few minutes the first time) ...", flush=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt"]
    if any(run([*pip, *requirement]) for requirement in requirements):
        return False
    (VENV / stamp).write_text(fingerprint())
    return True


def fingerprint() -> str:
    """Changes when something has to be installed again."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt", "make.py")]
    parts.append(os.environ.get("TORCH_INDEX_URL", "").encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def supported_python() -> list[str] | None:
    """Command of a Python that MONAI Label runs on: this one, or another that is installed."""
    if sys.version_info[:2] in SUPPORTED:
        return [sys.executable]
    names = [f"{major}.{minor}" for major, minor in ((3, 11), (3, 12), (3, 10))]
    candidates = [["py", f"-{name}"] for name in names] if os.name == "nt" else [[f"python{name}"] for name in names]
    for candidate in candidates:
        if (
            shutil.which(candidate[0])
            and not subprocess.run([*candidate, "-c", ""], capture_output=True, check=False).returncode
        ):
            return candidate
    return None


def system_libraries() -> str | None:
    """Install the libraries for off-screen pictures, or say how; other systems than Linux bring their own."""
    if sys.platform != "linux":
        return None
    missing = [
        package for name, packages in LIBRARIES.items() if not ctypes.util.find_library(name) for package in packages
    ]
    if not missing or installed(missing):
        return None
    if shutil.which("apt-get"):
        return f"pictures need a few system libraries; install them with: sudo {APT} {' '.join(missing)}"
    return (
        f"pictures need the libraries {', '.join(LIBRARIES)} (Mesa's EGL and OpenGL); install your system's packages."
    )


def dicom_server() -> None:
    """Install the DICOM server that the DICOMweb tests start on loopback; without it they are skipped."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"  # where Debian has it, and few users look
    if not shutil.which("Orthanc", path=path) and not installed(ORTHANC):
        print(f"The DICOMweb tests are skipped without Orthanc; on Debian and Ubuntu: sudo {APT} {' '.join(ORTHANC)}")


def installed(packages: list[str]) -> bool:
    """Install Debian packages if this user may; False if not."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    print(f"Installing {' '.join(packages)} ...", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-qq", "update"], check=False, env=quiet)
    command = [*APT.split(), *packages]
    return subprocess.run(command, check=False, env=quiet, stdout=subprocess.DEVNULL).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
