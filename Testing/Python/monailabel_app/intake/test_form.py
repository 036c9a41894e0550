"""Files of one request: each is kept, whatever the names are."""

from __future__ import annotations

import anyio
from starlette.requests import Request

from monailabel_app.intake.form import received_files

BOUNDARY = "x"


def request(*names: str) -> Request:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n{number}\r\n'
        for number, name in enumerate(names)
    ]
    body = "".join([*parts, f"--{BOUNDARY}--\r\n"]).encode()

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]
    return Request({"type": "http", "method": "PUT", "headers": headers}, receive)


def test_files_of_the_same_name_are_all_kept_and_the_first_keeps_its_name(tmp_path):
    names = ["2_a", "a", "a", "b/a", "2_a", "a"]
    found = anyio.run(received_files, request(*names), tmp_path).files
    assert found[0].name == "2_a"
    assert [path.read_text(encoding="utf-8") for path in found] == [str(number) for number in range(len(names))]
