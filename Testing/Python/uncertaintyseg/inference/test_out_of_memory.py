"""Want of memory in all its words, and what is tried then."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from uncertaintyseg.errors import InputError, TooLargeError
from uncertaintyseg.inference.out_of_memory import attempts, is_out_of_memory, may_fit_otherwise


def test_devices_come_in_the_order_asked_for_and_the_cpu_last():
    assert list(attempts("cuda")) == [("cuda", 0), ("cuda", 1), ("cuda", 2), ("cpu", 0), ("cpu", 1), ("cpu", 2)]
    assert list(attempts("cpu")) == [("cpu", 0), ("cpu", 1), ("cpu", 2)]


def test_what_is_too_large_for_a_gpu_may_fit_the_cpu_and_what_is_too_large_for_that_fits_nowhere():
    assert may_fit_otherwise(TooLargeError("needs 9.0 GB"), "cuda:1")
    assert not may_fit_otherwise(TooLargeError("needs 9.0 GB"), "cpu")
    assert may_fit_otherwise(MemoryError(), "cpu")
    assert not may_fit_otherwise(InputError("no such file"), "cuda")


def wrapped(error, inner, *, hidden=False):
    """An error as one that was raised while another was handled; hidden: "from None"."""
    error.__context__, error.__suppress_context__ = inner, hidden
    return error


def caused(error, inner):
    """An error as one that was raised "from" another."""
    error.__cause__ = inner
    return error


def in_a_circle(one, other):
    one.__context__, other.__context__ = other, one
    return one


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), True),
        (RuntimeError("unable to mmap 1 bytes from file <model.safetensors>: Cannot allocate memory (12)"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOENT, "No such file or directory"), False),
        (caused(RuntimeError("applying transform <Spacing>"), MemoryError()), True),
        (np.core._exceptions._ArrayMemoryError((2**40,), np.dtype(float)), True),
        (caused(InputError("scan.nii: not a readable NIfTI file"), OSError(errno.ENOMEM, "Cannot allocate")), True),
        (wrapped(ValueError("no batch"), wrapped(KeyError("image"), RuntimeError("CUDA out of memory"))), True),
        (wrapped(ValueError("no batch"), KeyError("image")), False),
        (wrapped(ValueError("no batch"), MemoryError(), hidden=True), False),
        (in_a_circle(ValueError("a"), KeyError("b")), False),
    ],
)
def test_want_of_memory_is_known_in_all_its_words(error, is_it):
    assert is_out_of_memory(error) is is_it
