"""Settings of the CRF and of thresholds: one range each, and the defaults of the library."""

from __future__ import annotations

import pytest

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.offered import run_options
from uncertaintyseg.inference.run_settings import asked_crf, asked_threshold, crf_of, crf_settings, threshold_settings
from uncertaintyseg.inference.thresholding import Threshold


def test_the_defaults_that_are_listed_are_those_that_run():
    listed = {option.name: option.default for option in crf_settings()}
    assert asked_crf({"crf": True, **listed}) == asked_crf({"crf": True}) == CRF()
    assert asked_crf(listed) is None
    values = {option.name: option.default for option in threshold_settings()}
    for method in ("otsu", "percentile", "mean_std", "fixed"):
        assert str(asked_threshold({"threshold": method, **values})) == method


def test_every_parameter_of_the_crf_can_be_set():
    params = {"weight": 10, "sigma_mm": 5, "sigma_intensity": 0.1, "smoothness": 2, "radius_mm": 4, "reach": 2}
    params |= {"iterations": 3}
    assert crf_of(True, params) == CRF(**params)
    assert {f"crf_{name}" for name in params} == {option.name for option in crf_settings()}
    assert all(option.needs == "crf" for option in crf_settings())


@pytest.mark.parametrize("option", crf_settings(), ids=lambda option: option.name)
def test_a_value_out_of_range_is_refused_with_the_range(option):
    name = option.name.removeprefix("crf_")
    for value in (option.low - 1, option.high + 1, "much"):
        with pytest.raises(InputError, match=f"'{name}' is .*from {option.low:g} to {option.high:g}"):
            crf_of(True, {name: value})
    with pytest.raises(InputError, match="no setting 'wight'; it has weight"):
        crf_of(True, {"wight": 1})


def test_a_threshold_takes_its_value_and_what_it_is_of():
    params = {"threshold": "percentile", "threshold_percentile": 80.0, "threshold_fixed": 0.1, "threshold_of": "liver"}
    assert asked_threshold(params) == Threshold("percentile", 80.0, "liver")
    assert asked_threshold({**params, "threshold": "0.3"}) == Threshold("fixed", 0.3, "liver")
    assert asked_threshold({**params, "threshold": "variance:otsu"}) == Threshold("otsu", None, "variance")
    assert asked_threshold({**params, "threshold": None}) is None


def test_a_model_lists_them_with_what_a_threshold_may_be_of(tiny_bundle):
    found = {option.name: option for option in run_options(tiny_bundle("low_rank", 3))}
    assert {option.name for option in (*crf_settings(), *threshold_settings())} < set(found)
    choices = found["threshold_of"].choices
    assert choices[:3] == ["foreground", "organ", "lesion"]
    assert {"predictive_entropy", "fused_uncertainty"} < set(choices)
