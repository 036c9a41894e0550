"""Epochs of so many steps: cases drawn with replacement and made ready beside the training."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import islice
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from torch.utils.data import default_collate

from uncertaintyseg.training.patches import SLOT

AHEAD = 3
"""Batches that are made ready while the network learns from one."""


class StepLoader:
    """Batches of augmented cases, an epoch of so many of them, by threads.

    Which cases come, and what augmentation does to each, depends on `seed` alone: not on the threads, how many there
    are or which is first. So a fit that goes on after a kill sees what an unbroken one does.

    Args:
        cases: by index, dictionaries of tensors; read by several threads at once.
        transform: of a case, which is told its place in the batch (`patches.SLOT`); each thread has its own.
        weights: how often each case is drawn, as compared with the others; None: all as often.
        steps: batches of an epoch.
        batch_size: cases of a batch.
        threads: that make them ready.
    """

    def __init__(
        self,
        cases: Sequence[dict[str, Any]],
        transform: Compose,
        weights: Sequence[float] | None,
        *,
        steps: int,
        batch_size: int,
        threads: int = 1,
    ) -> None:
        self.cases, self.transform, self.steps, self.batch_size = cases, transform, steps, batch_size
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float64) / np.sum(weights)
        self.threads, self.seed = threads, 0
        self._own = threading.local()

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        draw, count = np.random.RandomState(self.seed % 2**32), self.steps * self.batch_size
        drawn = draw.choice(len(self.cases), size=count, p=self.weights)
        slots = [place % self.batch_size for place in range(count)]
        items = zip(drawn.tolist(), draw.randint(2**31, size=count).tolist(), slots, strict=True)
        with ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting: deque = deque()
            try:
                while True:
                    missing = self.batch_size * AHEAD - len(waiting)
                    waiting.extend(pool.submit(self._ready, *item) for item in islice(items, missing))
                    if not waiting:
                        return
                    yield default_collate([waiting.popleft().result() for _ in range(self.batch_size)])
            finally:
                for one in waiting:
                    one.cancel()

    def _ready(self, index: int, seed: int, slot: int) -> dict[str, Any]:
        if not hasattr(self._own, "transform"):
            self._own.transform = deepcopy(self.transform)
        self._own.transform.set_random_state(seed)
        found = self._own.transform({**self.cases[index], SLOT: slot})
        return {key: torch.as_tensor(found[key]).as_subclass(torch.Tensor) for key in ("image", "label")}
