"""Eight clients at once mix inference, maps, saves and next samples."""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from Testing.proof.folders import number_of
from Testing.proof.load import Annotator, info_latencies
from Testing.proof.memory import Usage

CLIENTS = 8


@pytest.fixture
def annotators(folder, scans, label_of) -> list[Annotator]:
    """Clients with three images each, and four labels for each image; their server is up."""
    server = folder.start()
    found = []
    for number in range(CLIENTS):
        images = [f"client{number}_{scan.name.removesuffix('.nii.gz')}" for scan in scans[:3]]
        for image, scan in zip(images, scans, strict=False):
            shutil.copy(scan, folder.studies / f"{image}.nii.gz")
        labels = {image: [label_of(scan, n) for n in range(4)] for image, scan in zip(images, scans, strict=False)}
        found.append(Annotator(server.url, number, server.baseline, images, labels))
    server.wait_until(lambda: len(server.images()) == len(scans) + 3 * CLIENTS)
    return found


def test_no_error_no_lost_label_quick_info_and_flat_memory(folder, annotators, quick, record_property):
    seconds = 20 if quick else 300
    server = folder.server
    usage = Usage(server.process)
    spawn = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(CLIENTS) as threads, ProcessPoolExecutor(1, mp_context=spawn) as prober:
        at_work = [threads.submit(annotator.work, seconds) for annotator in annotators]
        waits = prober.submit(info_latencies, server.url, seconds)
        while not all(work.done() for work in at_work):
            usage.sample()
            time.sleep(1)
        for work in at_work:
            work.result()
    milliseconds = 1000 * np.array(waits.result())
    p50, p99 = np.percentile(milliseconds, (50, 99))
    done = sum((annotator.done for annotator in annotators), Counter())
    record_property("length, clients", f"{seconds} s, {CLIENTS}")
    record_property("requests without an error", ", ".join(f"{n} {name}" for name, n in sorted(done.items())))
    record_property("/info/ meanwhile (goal: p99 below 200 ms)", f"median {p50:.0f} ms, p99 {p99:.0f} ms")
    usage.report(record_property)

    saved = {image: number for annotator in annotators for image, number in annotator.saved.items()}
    assert saved
    datastore = server.http.get("/datastore/?output=all").json()["objects"]
    assert {image for image, item in datastore.items() if "final" in item["labels"]} == set(saved)
    assert {path.name for path in folder.label("x").parent.iterdir()} == {f"{image}.nii.gz" for image in saved}
    assert {image: number_of(folder.label(image)) for image in saved} == saved
    record_property("images with a label: the last acknowledged one, once", str(len(saved)))
    assert p99 < 200
    assert quick or not usage.growing()
