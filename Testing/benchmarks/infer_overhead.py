"""What POST /infer adds to the work itself: a real server beside the same work in this process, in turns."""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import torch
from common import console, machine, show

from monailabel_app.jobs.predict import Predict
from uncertaintyseg.data.phantom import write_phantoms
from uncertaintyseg.inference.bundle import find_bundle

MODEL = "phantom_deterministic"


def serve(folder: Path, studies: Path) -> tuple[subprocess.Popen, httpx.Client]:
    """Start a server and wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uncertaintyseg.cli", "serve", "--studies", str(studies), "--port", str(port)]
    command += ["--cache", str(folder / "cache")]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
    while not answers(client):
        assert process.poll() is None, (folder / "log.txt").read_text(encoding="utf-8")
        time.sleep(0.2)
    return process, client


def answers(client: httpx.Client) -> bool:
    """Whether the server is up."""
    try:
        return client.get("/info/").is_success
    except httpx.TransportError:
        return False


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    options = parser.parse_args()
    console.print(machine())
    times: dict[str, list[float]] = {"work": [], "infer": [], "cached": [], "info": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantoms(folder, count=1, seed=0)
        image = next((folder / "images").glob("*.nii.gz"))
        bundle = find_bundle(MODEL)
        process, client = serve(folder, folder / "images")

        def work(seed: int) -> None:
            results = str(folder / "own" / "results")
            key = f"{seed:064x}"
            Predict(key, str(image), str(bundle.folder), bundle.checksum, seed, 64, "cpu", results).run(
                lambda stage, fraction: None
            )

        def infer(seed: int) -> None:
            answer = client.post(
                f"/infer/{MODEL}",
                params={"image": image.name.removesuffix(".nii.gz")},
                data={"params": f'{{"seed": {seed}}}'},
            )
            answer.raise_for_status()

        (folder / "own").mkdir()
        runs = {
            "work": work,
            "infer": infer,
            "cached": infer,
            "info": lambda _: client.get("/info/").raise_for_status(),
        }
        for seed in range(options.repeats + 3):
            for run, function in runs.items():
                start = time.perf_counter()
                function(seed)
                if seed >= 3:  # the first load models and warm caches
                    times[run].append(time.perf_counter() - start)
        client.close()
        process.terminate()
        process.wait()
    differences = [(b - a) * 1000 for a, b in zip(times["work"], times["infer"], strict=True)]
    rows = [
        [run, f"{statistics.median(values) * 1000:.1f}", f"{max(values) * 1000:.1f}"] for run, values in times.items()
    ]
    show(f"{MODEL}, 64 x 64 x 33 voxels, ms", ["request", "median", "largest"], rows)
    console.print(f"POST /infer over the work itself, median of pairs: {statistics.median(differences):.1f} ms")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
