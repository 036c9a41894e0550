"""What a model's channels are called, read off its folder."""

from __future__ import annotations

import json

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, Bundle

RANGES = [
    {"name": "T1", "low": 10.0, "median": 300.0, "high": 900.0},
    {"name": "CT", "low": -80.0, "median": 45.0, "high": 190.0},
]


def change(path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_names_come_in_the_networks_order_and_one_that_nobody_named_is_an_image(tmp_path):
    folder = tiny.write_bundle(tmp_path)
    assert Bundle.load(folder).channels == ["image"]
    change(folder / INFERENCE, channels=["T1", "CT"])
    assert Bundle.load(folder).channels == ["T1", "CT"]


@pytest.mark.parametrize("names", [[], "T1", [1, 2], ["T1", "t1"], ["T1", " "]])
def test_names_that_name_nothing_are_refused(tmp_path, names):
    folder = tiny.write_bundle(tmp_path)
    change(folder / INFERENCE, channels=names)
    with pytest.raises(BundleError, match=r"inference\.json: 'channels' lists the names"):
        Bundle.load(folder).channels  # noqa: B018


def test_a_model_says_what_its_channels_looked_like(tmp_path):
    folder = tiny.write_bundle(tmp_path)
    assert Bundle.load(folder).uncertainty.channel_ranges is None
    section = json.loads((folder / METADATA).read_text(encoding="utf-8"))["uncertainty"]
    change(folder / METADATA, uncertainty=section | {"channel_ranges": RANGES})
    assert [found.model_dump() for found in Bundle.load(folder).uncertainty.channel_ranges] == RANGES
    change(folder / METADATA, uncertainty=section | {"channel_ranges": [{"name": "T1"}]})
    with pytest.raises(BundleError, match=r"field 'uncertainty\.channel_ranges\.0\.low': Field required"):
        Bundle.load(folder)
