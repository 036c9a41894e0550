"""Clients that work on a server at once, and a probe that waits for nobody."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx


def info_latencies(url: str, seconds: float) -> list[float]:
    """Ask /info/ ten times a second, in a process of its own; return how long each answer took (s)."""
    waits = []
    with httpx.Client(base_url=url, timeout=60) as http:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.perf_counter()
            http.get("/info/").raise_for_status()
            waits.append(time.perf_counter() - started)
            time.sleep(0.1)
    return waits


@dataclass
class Annotator:
    """One client: it infers, looks at maps, saves labels of its own images and asks for the next one.

    Attributes:
        saved: number of the last label that the server acknowledged, by image.
        done: how often each thing was done.
    """

    url: str
    number: int
    model: str
    images: list[str]
    labels: dict[str, list[Path]]
    saved: dict[str, int] = field(default_factory=dict)
    done: Counter = field(default_factory=Counter)

    def work(self, seconds: float) -> None:
        """Work until the time is over; any answer but a good one is an error."""
        chance = random.Random(self.number)
        end = time.monotonic() + seconds
        with httpx.Client(base_url=self.url, timeout=120) as http:
            while time.monotonic() < end:
                action = chance.choices([self.infer, self.save, self.next_sample], [1, 3, 2])[0]
                action(http, chance)
                self.done[action.__name__] += 1

    def infer(self, http: httpx.Client, chance: random.Random) -> None:
        """Infer, half of the time what nobody asked for before, and fetch the label and a map."""
        seed = chance.choice([0, chance.randrange(2**31)])
        request = {"kind": "infer", "model": self.model, "image": chance.choice(self.images), "params": {"seed": seed}}
        job = _good(http.post("/uncertainty/v1/jobs", json=request))["id"]
        while (state := _good(http.get(f"/uncertainty/v1/jobs/{job}")))["state"] in ("queued", "running"):
            time.sleep(0.1)
        assert state["state"] == "done", state
        result = state["result"]
        for url in (result["label"], chance.choice(list(result["risk"]["maps"].values()))["url"]):
            http.get(url).raise_for_status()

    def save(self, http: httpx.Client, chance: random.Random) -> None:
        """Save another label of an image of this client's."""
        image = chance.choice(self.images)
        number = (self.saved.get(image, -1) + 1) % len(self.labels[image])
        files = {"label": ("label.nii.gz", self.labels[image][number].read_bytes())}
        _good(http.put(f"/datastore/label?image={image}&tag=final", files=files))
        self.saved[image] = number

    def next_sample(self, http: httpx.Client, chance: random.Random) -> None:
        """Ask for the next image, which may be none."""
        strategy = chance.choice(["random", "predictive_entropy"])
        params = {"client_id": f"annotator-{self.number}", "model": self.model}
        sample = _good(http.post(f"/activelearning/{strategy}", json=params))
        assert "id" in sample or "reason" in sample, sample


def _good(answer: httpx.Response) -> dict:
    assert answer.status_code < 300, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json()
