"""Stock routes that this version refuses, each with the reason."""

from __future__ import annotations

import shutil

from fastapi import APIRouter

from monailabel_app.errors import UnavailableError

router = APIRouter(include_in_schema=False)

_NO_UPLOAD = "weights are not changed through the server: put a bundle into the models folder and restart"
_NO_SLIDES = "this server segments volumes, not slides"
_NO_RELOAD = "one process opens the datastore once: restart the server instead"
_NO_DICOMWEB = "no DICOMweb proxy: viewers ask the DICOMweb server itself"
_NO_GPU = "this machine has no nvidia-smi to ask"

_REFUSED = {
    ("PUT", "/model/{model}"): _NO_UPLOAD,
    ("DELETE", "/model/{model}"): _NO_UPLOAD,
    ("POST", "/infer/wsi/{model}"): _NO_SLIDES,
    ("POST", "/infer/wsi_v2/{model}"): _NO_SLIDES,
    ("POST", "/reload"): _NO_RELOAD,
    ("GET", "/proxy/dicom/{path:path}"): _NO_DICOMWEB,
    ("POST", "/proxy/dicom/{path:path}"): _NO_DICOMWEB,
}
if shutil.which("nvidia-smi") is None:
    _REFUSED["GET", "/logs/gpu"] = _NO_GPU


def _refuse(method: str, path: str, reason: str) -> None:
    async def refuse() -> None:
        raise UnavailableError(reason)

    router.add_api_route(path, refuse, methods=[method])


for (_method, _path), _reason in _REFUSED.items():
    _refuse(_method, _path, _reason)
