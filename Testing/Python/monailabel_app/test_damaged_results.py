"""Any file of a stored result may be lost, cut short or zeroed: it is made again, never served and never an error."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monailabel_app.jobs.results import ResultStore
from monailabel_app.jobs.seal import is_whole, sealed, with_digest, without_digest
from Testing.Python.monailabel_app.test_results import LABELS, key, prediction

RESULTS = "/uncertainty/v1/results"


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def change(path: Path) -> None:
    """One bit of its last byte that is a digit, or the last."""
    data = bytearray(path.read_bytes())
    place = max((place for place, byte in enumerate(data) if chr(byte).isdigit()), default=len(data) - 1)
    data[place] ^= 1
    path.write_bytes(data)


DAMAGES: tuple[Callable[[Path], None], ...] = (Path.unlink, cut, zero, change)


def clear(results: Path) -> None:
    for folder in results.iterdir():
        shutil.rmtree(folder)


@pytest.fixture
def results(tiny_server) -> Path:
    return tiny_server.folder / "cache" / "results"


class Reader:
    """All that a client can ask of one result, as hashes of what it gets."""

    def __init__(self, server) -> None:
        self.server, self.http = server, server.http
        self.image = server.images()[0]

    def infer(self, params: str = "{}") -> dict:
        url = f"/infer/{self.server.model}?image={self.image}&output=json"
        answer = self.http.post(url, data={"params": params})
        assert answer.status_code == 200, answer.text
        return answer.json()["risk"]

    def urls(self) -> list[str]:
        risk = self.infer()
        result = f"{RESULTS}/{risk['result']}"
        moved = self.ask("POST", f"{result}/condition", {"background": [[1, 1, 1]]}).json()
        drawn = self.ask("POST", f"{result}/samples", {"count": 2}).json()["samples"]
        urls = [f"{result}/label.nii.gz", *(info["url"] for info in risk["maps"].values())]
        urls += [moved["label"], moved["risk"]["maps"]["error_probability"]["url"], *(each["url"] for each in drawn)]
        return urls

    def read(self, urls: list[str]) -> dict[str, str]:
        return {url: hashlib.sha256(self.ask("GET", url).content).hexdigest() for url in urls}

    def ask(self, method: str, url: str, body: dict | None = None):
        answer = self.http.request(method, url, json=body)
        assert answer.status_code == 200, answer.text
        return answer


def test_every_file_of_a_result_can_be_damaged(tiny_server, results):
    reader = Reader(tiny_server)
    urls = reader.urls()
    wanted = reader.read(urls)
    folder = results / reader.infer()["result"]
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert {"report.json", "label.nii.gz", "features.npy", "maps.json", "samples.json"} <= {file.name for file in files}
    for number, file in enumerate(files):  # each damage of each file: the store's own test below
        DAMAGES[number % len(DAMAGES)](folder / file)
        assert reader.read(urls) == wanted, file


def test_what_had_to_make_room_is_made_again_under_its_key(tiny_server, results):
    reader = Reader(tiny_server)
    urls = reader.urls()
    wanted = reader.read(urls)
    result = urls[0].removesuffix("/label.nii.gz")
    moved = next(url for url in urls if not url.startswith(result))
    drawn = next(url for url in urls if "/samples/" in url)
    for url in (urls[0], urls[1], moved, drawn):
        clear(results)
        assert reader.read([url]) == {url: wanted[url]}
    clear(results)
    assert reader.ask("POST", f"{result}/condition", {"background": [[1, 1, 1]]}).json()["label"] == moved
    clear(results)
    assert reader.ask("GET", f"{result}/guarantee").json()["guarantee_reason"]


def test_a_result_of_a_scan_that_has_changed_since_is_not_made_again(tiny_server, results):
    reader = Reader(tiny_server)
    key = reader.infer()["result"]
    scan = next(tiny_server.studies.glob(f"{reader.image}.*"))
    image = nib.load(scan)
    changed = nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine)
    whole = scan.read_bytes()
    shutil.rmtree(results / key)
    try:
        nib.save(changed, scan)
        answer = reader.http.get(f"{RESULTS}/{key}/label.nii.gz")
        assert answer.status_code == 404
        assert "infer the image again" in answer.json()["detail"]
    finally:
        scan.write_bytes(whole)


def test_an_inference_with_corrections_never_fails_for_a_damaged_result(tiny_server, results):
    reader = Reader(tiny_server)
    corrected = '{"background": [[1, 1, 1]]}'
    wanted = reader.infer(corrected)["result"]
    names = ("state/features.npy", "report.json", "state/features.npy", "report.json")
    for damage, name in zip(DAMAGES, names, strict=True):
        damage(results / reader.infer()["result"] / name)
        damage(results / wanted / "report.json")
        assert reader.infer(corrected)["result"] == wanted


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_result_goes_from_the_store_and_can_be_stored_again(tmp_path, damage):
    store = ResultStore(tmp_path / "results")
    store.put(key(1), prediction(), LABELS)
    files = sorted(path for path in store.folder(key(1)).rglob("*") if path.is_file())
    for path in files:
        damage(path)
        assert store.report(key(1)) is None, path
        assert not list(store.root.iterdir())
        store.put(key(1), prediction(), LABELS)
        assert store.report(key(1)) is not None


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_encoding_of_a_map_is_made_again(tmp_path, damage):
    store = ResultStore(tmp_path / "results")
    store.put(key(1), prediction(), LABELS)
    wanted = store.map_bytes(key(1), "predictive_entropy")
    damage(next(store.root.rglob("*.sent")))
    assert store.map_bytes(key(1), "predictive_entropy") == wanted


def test_a_changed_bit_is_noticed_by_time_and_by_checksum(tmp_path):
    (tmp_path / "a").write_bytes(b"1234")
    seal = sealed(tmp_path)
    assert is_whole(tmp_path, seal)
    (tmp_path / "a").write_bytes(b"1235")
    assert not is_whole(tmp_path, seal)
    assert without_digest(with_digest(b"")) == b""
    assert without_digest(with_digest(b"1234")[:-1]) is None
    assert without_digest(b"") is None
