"""Answers to those who log in name files, and not where the server keeps them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import monailabel_app
from monailabel_app.access import Access
from monailabel_app.api.auth import LOCAL
from monailabel_app.api.instance import running_app
from monailabel_app.app import UncertaintySegApp
from monailabel_app.folders import all_without_folders, hide, without_folders
from monailabel_app.preflight import is_url
from uncertaintyseg.inference.bundle import model_folders


class WithoutFolders:
    """ASGI middleware inside the log-in: takes the server's own folders out of JSON, whatever route it comes from.

    MONAI Label's records, sessions and errors hold whole paths. Who works on this machine without log-in gets them:
    stock clients open a file that is here instead of downloading it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

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
                    data = await to_thread.run_sync(_without, bytes(body))
                    headers = MutableHeaders(scope=start)
                    if scope["method"] != "HEAD":
                        headers["Content-Length"] = str(len(data))
                    await send(start)
                    await send({"type": "http.response.body", "body": data})

        await self.app(scope, receive, send_without)


def hide_folders(access: Access) -> None:
    """Name this server's folders to `monailabel_app.folders`; once the app runs."""
    app = running_app()
    hide([] if is_url(app.studies) else [Path(app.studies)], _others(app, access))


def _others(app: UncertaintySegApp, access: Access) -> Iterable[Path]:
    yield from (Path(app.app_dir), *app.folders, app.results.root.parent, access.audit.resolve(), Path.cwd())
    yield from model_folders(*app.models.folders)
    yield from {bundle.folder.parent for bundle in app.models.values()}  # where links lead to
    yield from (Path(monailabel_app.__file__).resolve().parents[1], Path(sys.prefix), Path(sys.base_prefix))
    yield app.datastore().folder
    if access.token_file is not None:
        yield access.token_file.resolve().parent


def _without(data: bytes) -> bytes:
    """JSON without the folders; as it was, to the byte, where it names none."""
    try:
        value = json.loads(data)
    except ValueError:
        return without_folders(data.decode(errors="replace")).encode()
    told = all_without_folders(value)
    return data if told == value else json.dumps(told).encode()


def _is_json(message: Message) -> bool:
    return MutableHeaders(scope=message).get("content-type", "").startswith("application/json")
