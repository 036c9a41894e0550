"""Every number that an option of passes takes has a range, and what is out of it is refused by name."""

from __future__ import annotations

import inspect
import math

import pytest

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.methods import check_options, methods
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.passes.ranges import ranges

NUMERIC = [(name, option) for name, kind in PASSES.items() for option in ranges(kind)]
WRONG = (10**7, -(10**7), 10**400, math.inf, -math.inf, math.nan, 1e300, "many", True)


def is_numeric(annotation: str) -> bool:
    return any(word in annotation for word in ("int", "float"))


@pytest.mark.parametrize("name", PASSES)
def test_every_number_in_a_signature_has_a_range(name):
    signature = inspect.signature(PASSES[name]).parameters
    numbers = {key for key, p in signature.items() if is_numeric(str(p.annotation))}
    known = {"spacing", "symmetries"}  # the program's own, and the axes of a grid
    assert numbers - known == ranges(PASSES[name]).keys()


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: f"{value!s:.12}")
@pytest.mark.parametrize(("name", "option"), NUMERIC)
def test_a_number_out_of_range_is_refused_by_name_and_range(name, option, wrong):
    if option == "seed" and wrong == 10**7:
        pytest.skip("a seed may be as large")
    limits, whole = ranges(PASSES[name])[option]
    form = "d" if whole else "g"
    listed = isinstance(methods()[name].options[option], tuple) or option == "value_range"
    for check in (lambda o: check_options(name, o), lambda o: PASSES[name](None, **o)):
        with pytest.raises(InputError) as refused:
            check({option: [wrong, wrong] if listed else wrong})
        assert f"'{option}' is" in str(refused.value)
        assert f"from {limits.low:{form}} to {limits.high:{form}}" in str(refused.value)


@pytest.mark.parametrize(("name", "option"), NUMERIC)
def test_the_ends_of_a_range_and_the_default_are_in_it(name, option):
    limits, whole = ranges(PASSES[name])[option]
    for value in (limits.low, limits.high):
        limits.check(option, int(value) if whole else value, whole=whole)
    default = methods()[name].options[option]
    check_options(name, {} if default is None else {option: default})


def test_a_long_list_of_factors_and_too_many_passes_in_all_are_refused():
    with pytest.raises(InputError, match=r"'scales' lists 101 numbers: give 100 at most"):
        check_options("tta", {"scales": [1 + n / 1000 for n in range(101)]})
    factors = [1 + n / 1000 for n in range(100)]
    with pytest.raises(InputError, match=r"'tta' would take 80000 passes with these options: 4096 are the most"):
        check_options("tta", {"scales": factors, "intensities": factors})


def test_the_options_of_a_fused_method_are_checked_too():
    with pytest.raises(InputError, match=r"'passes' is 10000000: give a whole number from 1 to 4096"):
        check_options("fused", {"options": {"noise": {"passes": 10**7}}})
