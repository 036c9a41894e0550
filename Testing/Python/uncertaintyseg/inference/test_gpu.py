"""A machine with CUDA: the same map twice, close to the CPU's, and an answer when its memory runs out."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from monailabel_app.jobs.predict import Predict
from monailabel_app.jobs.results import ResultStore
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.inference.predictor import Predictor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny.give_random_weights(tiny.write_bundle(tmp_path_factory.mktemp("models"), "low_rank"))


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny.write_phantoms(folder, count=1)
    return folder / "images" / "case_0.nii.gz"


def test_the_same_seed_gives_the_same_maps_bit_for_bit(bundle, scan, record_property):
    predictor = Predictor(bundle, device="cuda")
    first, started = predictor.predict(scan, seed=3), time.perf_counter()
    second = predictor.predict(scan, seed=3)
    record_property(f"one inference on {torch.cuda.get_device_name()}", f"{time.perf_counter() - started:.3f} s")
    assert np.array_equal(first.label, second.label)
    for name, values in first.maps.items():
        assert np.array_equal(values, second.maps[name]), name
    assert first.structures == second.structures


def test_maps_are_close_to_those_of_the_cpu(bundle, scan, record_property):
    on_gpu, on_cpu = (Predictor(bundle, device=device).predict(scan) for device in ("cuda", "cpu"))
    furthest = {name: float(np.abs(values - on_cpu.maps[name]).max()) for name, values in on_gpu.maps.items()}
    record_property("largest difference from the CPU", ", ".join(f"{n} {v:.1e}" for n, v in furthest.items()))
    assert np.mean(on_gpu.label != on_cpu.label) < 1e-3
    assert max(furthest.values()) < 1e-2


def test_out_of_its_memory_the_prediction_ends_elsewhere_and_says_so(bundle, scan, tmp_path, record_property):
    task = Predict(
        key="0" * 64,
        image=str(scan),
        bundle=str(bundle.folder),
        checksum=bundle.checksum,
        seed=0,
        samples=4,
        device="cuda",
        results=str(tmp_path),
    )
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**20 / torch.cuda.get_device_properties(0).total_memory)
    try:
        key = task.run(lambda stage, fraction: None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    fallback = ResultStore(tmp_path).report(key).risk.provenance.fallback
    assert key != task.key
    assert "out of memory on cuda" in fallback
    record_property("with 1 MiB of its memory", fallback)
    assert ResultStore(tmp_path).report(Predict(**{**vars(task), "seed": 1}).run(lambda stage, fraction: None))
