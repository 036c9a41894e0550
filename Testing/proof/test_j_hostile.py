"""Hostile uploads and slow clients: the server process stays small, answers others and reads no file that they name."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import psutil
import pytest

MIB = 2**20
JSON = {"Content-Type": "application/json"}
HALF_BODY = b"PUT /datastore/label?image=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"
BOMB = 2**31
"""Bytes that a small upload expands to."""
MOST_MIB = 150
"""That the server process may grow by while it refuses one."""
PATIENCE = 2.0


def packed(begin: bytes, count: int, window: int) -> bytes:
    """A stream that expands to `begin` and so many zeros."""
    packer, block = zlib.compressobj(9, wbits=window), bytes(16 * MIB)
    parts = [packer.compress(begin), *(packer.compress(block) for _ in range(count // len(block)))]
    return b"".join([*parts, packer.flush()])


def nifti_header(shape: tuple[int, ...], affine: np.ndarray) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.set_sform(affine, 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4)


def nrrd(size: str, extra: str = "") -> bytes:
    return (
        f"NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: {size}\n"
        f"space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nencoding: gzip\n"
        f"space origin: (0,0,0)\n{extra}\n"
    ).encode()


def metaimage(size: str, data_file: str = "LOCAL") -> bytes:
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
        f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize = {size}\n"
        f"ElementType = MET_UCHAR\nElementDataFile = {data_file}\n"
    ).encode()


def hostile(scan: Path, secret: Path) -> dict[str, tuple[str, bytes]]:
    """File name and bytes of labels that ask for gigabytes, or for a file of the server."""
    image = nib.load(scan)
    shape, affine = image.shape, image.affine
    size = " ".join(map(str, shape))
    zeros = packed(b"", BOMB, 31)
    vast = gzip.compress(nifti_header((32767, 32767, 16384), affine))
    plain = nifti_header(shape, affine)
    negative = gzip.compress(plain[:42] + b"\xff\xff" + plain[44:])
    colon = metaimage("1 1 1").replace(b"ElementDataFile = LOCAL", f"ElementDataFile : {secret}".encode())
    return {
        "NIfTI that expands to 2 GiB behind its voxels": ("a.nii.gz", packed(plain, BOMB, 31)),
        "NIfTI whose header says 2^44 voxels": ("b.nii.gz", vast),
        "NIfTI with a negative size": ("c.nii.gz", negative),
        "NIfTI of 60 000 gzip members": ("d.nii.gz", gzip.compress(b"") * 60_000),
        "NRRD that expands to 2 GiB": ("e.nrrd", nrrd(size) + zeros),
        "NRRD whose voxels are a file of the server": ("f.nrrd", nrrd("1 1 1", f"data file: {secret}\n")),
        "the same in another case": ("g.nrrd", nrrd("1 1 1", f"DATA FILE: {secret}\n")),
        "the same as a list": ("h.nrrd", nrrd("1 1 1", "datafile: LIST\n") + f"{secret}\n".encode()),
        "MetaImage that expands to 2 GiB": ("i.mha", metaimage(size) + packed(b"", BOMB, 15)),
        "MetaImage whose voxels are a file of the server": ("j.mha", metaimage("1 1 1", str(secret))),
        "the same with a colon": ("k.mha", colon),
    }


@contextmanager
def watched(process: psutil.Process) -> Iterator[list[float]]:
    """Peak of the resident memory of a process meanwhile, MiB above what it was."""
    before, peak, over = process.memory_info().rss, [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], (process.memory_info().rss - before) / MIB)

    watcher = threading.Thread(target=look)
    watcher.start()
    yield peak
    over.set()
    watcher.join()


def test_uploads_that_ask_for_gigabytes_or_files_are_refused_in_little_memory(folder, scans, record_property):
    server = folder.start()
    image = scans[0].name.removesuffix(".nii.gz")
    secret = folder.root / "secret.bin"
    secret.write_bytes(b"\x2d")
    process, worst, slowest = psutil.Process(server.process.pid), 0.0, 0.0
    attacks = hostile(scans[0], secret)
    roads = ((f"/datastore/label?image={image}&tag=final", "label"), ("/datastore/image?image=odd", "file"))
    for name, (file, data) in attacks.items():
        for url, field in roads:
            with watched(process) as peak:
                began = time.monotonic()
                answer = server.http.put(url, files={field: (file, data)})
                slowest = max(slowest, time.monotonic() - began)
            assert 400 <= answer.status_code < 500, (name, answer.text)
            assert "id 45" not in answer.json()["detail"], name  # the byte that the secret holds
            assert str(folder.root) not in answer.json()["detail"]
            assert peak[0] < MOST_MIB, (name, peak[0])
            worst = max(worst, peak[0])
    assert server.images() == sorted(scan.name.removesuffix(".nii.gz") for scan in scans)
    assert server.put_label(image, _label(folder, scans[0])).status_code == 200
    record_property("hostile labels and scans, each refused with 4xx", len(attacks))
    record_property("server MiB above before, at worst (2 GiB asked for)", f"{worst:.0f}")
    record_property("longest answer", f"{slowest:.1f} s")


def _label(folder, scan: Path) -> Path:
    image, path = nib.load(scan), folder.root / "label.nii.gz"
    nib.Nifti1Image(np.ones(image.shape, np.uint8), image.affine).to_filename(path)
    return path


@pytest.mark.parametrize("first", [b"GET /info/ HT", HALF_BODY])
def test_slow_clients_are_cut_off_and_others_are_served(folder, first, record_property):
    server = folder.start("--patience", PATIENCE)
    address = ("127.0.0.1", server.http.base_url.port)
    slow = [socket.create_connection(address, timeout=60) for _ in range(200)]
    for client in slow:
        client.sendall(first)
    began, times = time.monotonic(), []
    while time.monotonic() < began + PATIENCE:
        asked = time.monotonic()
        assert server.http.get("/uncertainty/v1/health").status_code == 200
        times.append(time.monotonic() - asked)
    for client in slow:
        while client.recv(4096):  # an answer may come first; then the end
            pass
        client.close()
    taken = time.monotonic() - began
    assert taken < 5 * PATIENCE + 10
    kind = "header" if first.startswith(b"GET") else "body"
    worst = 1000 * float(np.max(times))
    figures = f"{taken:.1f} s, {worst:.0f} ms"
    record_property(f"200 clients with half a {kind}: cut off after, others' worst answer", figures)


def test_large_json_is_refused_before_it_is_read_and_others_connect(folder, record_property):
    server = folder.start()
    process = psutil.Process(server.process.pid)
    body = b'{"params": {"x": "' + b"y" * (100 * MIB) + b'"}}'
    times: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert httpx.get(f"{server.url}/uncertainty/v1/health").status_code == 200
            times.append(time.monotonic() - began)

    other = threading.Thread(target=ask)
    other.start()
    answers = set()
    with watched(process) as peak:
        for _ in range(3):
            with suppress(httpx.TransportError):  # it may hang up while we still send
                answers.add(server.http.post("/uncertainty/v1/jobs", content=body, headers=JSON).status_code)
    over.set()
    other.join()
    assert answers <= {413}
    assert peak[0] < MOST_MIB
    figures = f"413; {peak[0]:.0f} MiB; {1000 * max(times):.0f} ms"
    record_property("100 MiB of JSON: answer, growth of the server, others' worst new connection", figures)
