"""Hundreds of inferences, none of them in the cache, in one server."""

from __future__ import annotations

import time

from Testing.proof.memory import Usage


def test_memory_and_open_files_stay_flat(folder, scans, quick, record_property):
    server = folder.start("--cache-gb", 0.05)  # so that results are evicted as well
    image = scans[0].name.removesuffix(".nii.gz")
    count = 30 if quick else 500
    usage = Usage(server.process)
    started = time.monotonic()
    for seed in range(count):
        state = server.infer(server.model, image, seed=seed)
        assert state["state"] == "done", state
        usage.sample()
    record_property("inferences", f"{count} in {time.monotonic() - started:.0f} s, model {server.model}")
    usage.report(record_property)
    assert quick or not usage.growing()
    kept = sum(path.stat().st_size for path in (folder.root / "cache" / "results").rglob("*") if path.is_file())
    record_property("results kept (limit 51 MiB)", f"{kept / 1024**2:.0f} MiB")
