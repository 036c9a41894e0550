"""How many steps fit into an hour, and how often they are validated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.planning.steps import VALIDATIONS, fit_into


def test_an_hour_of_steps_of_one_second():
    length = fit_into(3600, step=1.0, validation=9.0)
    assert length.epochs == VALIDATIONS
    assert length.per_epoch == 81  # (3600 - 40 x 9) / 40
    assert length.whole == 3240


def test_a_validation_that_takes_long_comes_less_often():
    length = fit_into(3600, step=1.0, validation=270.0)
    assert length.epochs == 2  # 15 % of the hour
    assert length.whole == 3060


def test_steps_that_were_asked_for_are_made():
    assert fit_into(10, step=1.0, validation=1.0, steps=1000).whole == 1000


@given(st.floats(1, 1e6), st.floats(1e-3, 100), st.floats(1e-3, 1e4))
def test_no_epoch_of_a_step_or_two_and_no_fit_that_is_mostly_validation(seconds, step, validation):
    length = fit_into(seconds, step, validation)
    assert 1 <= length.epochs <= VALIDATIONS
    assert length.epochs == 1 or length.per_epoch >= 20
    assert length.epochs == 1 or length.epochs * validation <= 0.16 * seconds
    if length.whole > 20:
        assert length.whole * step <= 1.1 * seconds
