"""pytest plugin: MONAI Label's own endpoint suites talk to a server of ours.

Loaded with `-p Testing.proof.stock_plugin` over the tests of MONAI Label's installed package, which stay as they are.
`STOCK_SERVER` is the server's address, `STOCK_STUDIES` its studies folder and `STOCK_SESSIONS` its sessions folder.
"""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import httpx
import pytest

_CUDA = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for module in {item.module for item in items}:
        if hasattr(module, "torch"):
            module.torch = _CUDA  # they use it for one thing: to leave out every inference and training without CUDA
        context = sys.modules.get(f"{module.__package__}.context")
        if context is not None:
            _point_at_our_server(context)


def _point_at_our_server(context) -> None:
    from monailabel.config import settings

    settings.MONAI_LABEL_SESSION_PATH = os.environ["STOCK_SESSIONS"]
    client = httpx.Client(base_url=os.environ["STOCK_SERVER"], timeout=300)
    context.create_client = lambda *_, **__: client
    for suite in vars(context).values():
        if isinstance(suite, type) and hasattr(suite, "studies"):
            suite.studies = os.environ["STOCK_STUDIES"]
