"""For a server and its workers under test: no reader of ITK is called, and none of nibabel on a client's file.

Python imports this first where its folder is on PYTHONPATH. What happens nevertheless is refused and written down.
"""

import hashlib
import importlib.abc
import importlib.util
import os
import sys
from pathlib import Path

LOG, UPLOADS = Path(os.environ["GUARD_LOG"]), Path(os.environ["GUARD_UPLOADS"])


def refuse(what):
    with LOG.open("a") as log:
        log.write(f"{what}\n")
    raise AssertionError(what)


def guard_simpleitk(module):
    for name in ("ReadImage", "ImageFileReader", "ImageSeriesReader"):
        setattr(module, name, lambda *_args, _name=name, **_options: refuse(f"SimpleITK.{_name}"))


def guard_nibabel(module):
    start = module.Opener.__init__

    def checked(self, fileish, *args, **options):
        if isinstance(fileish, str | os.PathLike) and Path(fileish).is_file():
            digest = hashlib.sha256(Path(fileish).read_bytes()).hexdigest()
            if digest in UPLOADS.read_text(encoding="utf-8"):
                refuse(f"nibabel on {fileish}")
        start(self, fileish, *args, **options)

    module.Opener.__init__ = checked


GUARDS = {"SimpleITK": guard_simpleitk, "nibabel.openers": guard_nibabel}


class Guarding(importlib.abc.MetaPathFinder):
    def find_spec(self, name, _path=None, _target=None):
        if name not in GUARDS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            GUARDS[name](module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Guarding())
