"""What says that a GPU does not compute any more, and what says something else."""

from __future__ import annotations

import pytest

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.device_failure import is_device_failure


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), True),
        (RuntimeError("No CUDA GPUs are available"), True),
        (RuntimeError("CUDA error: out of memory"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (InputError("scan.nii.gz: no such file; a CUDA error: of a name"), False),
    ],
)
def test_a_device_has_failed_where_its_driver_or_a_library_of_it_says_so(error, failed):
    assert is_device_failure(error) is failed


def test_what_came_of_such_an_error_says_it_as_well():
    error = InputError("device 'cuda:1' cannot be used here")
    error.__cause__ = RuntimeError("CUDA error: unspecified launch failure")
    assert is_device_failure(error)
