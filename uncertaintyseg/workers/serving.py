"""What a worker process runs: it gets ready, does what it is given, and ends with whoever started it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from uncertaintyseg.errors import InputError, StorageError, UncertaintySegError
from uncertaintyseg.startup import import_monai_lightly
from uncertaintyseg.workers.crew import Answer, Do, Task

logger = logging.getLogger(__name__)
_TOLD_EVERY = 0.2
"""Seconds between two reports of where an item stands."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def serve(pipe: Connection, number: int, threads: int | None) -> None:
    """Run a worker at the other end of a pipe, from which first its task comes, until nobody is there any more.

    Ctrl-C goes to all processes of a terminal; it is the other side's to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    begin(threads)
    try:
        do = prepared(pipe.recv(), number)  # it may bring torch with it
        limit_threads(threads)
        if isinstance(do, Answer):
            pipe.send(do)
            return
        pipe.send(None)
        while True:
            pipe.send(answer(do, pipe.recv(), _seldom(lambda *where: pipe.send(where))))
    except (EOFError, OSError):
        return


def begin(threads: int | None) -> None:
    """Use so many threads, and import MONAI lightly: before torch is there."""
    if threads is not None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    import_monai_lightly()


def limit_threads(threads: int | None) -> None:
    """The same for a torch that is there already."""
    if threads is not None and (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


def prepared(task: Task, number: int) -> Do | Answer:
    """What does the items, or why there is nothing that does."""
    try:
        return task.prepare(number)
    except UncertaintySegError as error:
        return Answer("wrong", str(error))
    except Exception as error:
        logger.exception("a worker cannot get ready")
        return Answer("wrong", _unexpected(error))


def answer(do: Do, item: Any, report: Callable[[str, float], None]) -> Answer:
    """Do an item; nothing but the end of the process gets out of here."""
    try:
        return Answer("answer", do(item, report))
    except StorageError as error:
        return Answer("full", str(error))
    except InputError as error:
        return Answer("unusable", str(error))
    except UncertaintySegError as error:
        return Answer("wrong", str(error))
    except MemoryError as error:
        return Answer("wrong", f"there is not enough memory for it ({error}). Use fewer workers, or crop the scan.")
    except Exception as error:  # of ten thousand items one must not take the others along
        logger.exception("an item failed")
        return Answer("wrong", _unexpected(error))


def _unexpected(error: Exception) -> str:
    return f"unexpected {type(error).__name__}: {error}. Its trace is in the worker's log; please report it."


def _seldom(tell: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """Report no more often than anybody could look."""
    told = 0.0

    def report(stage: str, fraction: float) -> None:
        nonlocal told
        if (now := time.monotonic()) - told >= _TOLD_EVERY:
            told = now
            tell(stage, fraction)

    return report


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
