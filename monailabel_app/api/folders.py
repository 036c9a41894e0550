"""Answers to those who log in name files, and not where the server keeps them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import monailabel_app
from monailabel_app.access import Access
from monailabel_app.api.auth import LOCAL
from monailabel_app.api.instance import running_app
from monailabel_app.preflight import is_url
from uncertaintyseg.inference.bundle import model_folders


class WithoutFolders:
    """ASGI middleware inside the log-in: takes the server's own folders out of JSON, whatever route it comes from.

    MONAI Label's records, sessions and errors hold whole paths. Who works on this machine without log-in gets them:
    stock clients open a file that is here instead of downloading it.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and its answer without the folders."""
        if scope["type"] != "http" or scope["state"]["identity"] == LOCAL:
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def send_without(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_json(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    data = self._without(bytes(body))
                    headers = MutableHeaders(scope=start)
                    if scope["method"] != "HEAD":
                        headers["Content-Length"] = str(len(data))
                    await send(start)
                    await send({"type": "http.response.body", "body": data})

        await self.app(scope, receive, send_without)

    def _without(self, data: bytes) -> bytes:
        for inside, itself in self._folders:
            data = data.replace(inside, b"").replace(itself, b".")
        return data

    @cached_property
    def _folders(self) -> list[tuple[bytes, bytes]]:
        """Each of the folders as it begins a path in JSON, and alone; those inside others first."""
        found = sorted({_in_json(str(folder)) for folder in _own(self._access)}, key=len, reverse=True)
        return [(folder + _in_json(os.sep), folder) for folder in found]


def _own(access: Access) -> Iterable[Path]:
    app = running_app()
    yield from (Path(app.app_dir), *app.folders, *model_folders(*app.models.folders), access.audit.resolve())
    yield from (Path(monailabel_app.__file__).resolve().parents[1], Path(sys.prefix))
    if not is_url(app.studies):
        yield Path(app.studies)
    if access.token_file is not None:
        yield access.token_file.resolve().parent


def _in_json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


def _is_json(message: Message) -> bool:
    return MutableHeaders(scope=message).get("content-type", "").startswith("application/json")
