from __future__ import annotations

import pytest
import torch

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.device import checked_device, chosen_device


@pytest.mark.parametrize(("there", "device"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_a_gpu_where_there_is_one(monkeypatch, there, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert chosen_device("auto") == device
    assert chosen_device("cuda:1") == "cuda:1"
    assert chosen_device("cpu") == "cpu"


def test_a_device_is_what_was_meant_or_refused():
    assert checked_device("cpu") == "cpu"
    assert checked_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match="device 'nonsense' cannot be used here; use auto or cpu"):
        checked_device("nonsense")
