"""Steps that maps are stored in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.data.writing import map_steps


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_a_risk_is_never_stored_below_itself_and_by_less_than_a_step_above(values):
    exact = np.array(values, np.float32)
    steps, slope, low = map_steps(exact, (0.0, 1.0), upward=True)
    read = steps.astype(np.float32) * np.float32(slope) + np.float32(low)
    assert (read >= exact).all()
    assert (read - exact < slope * (1 + 1e-3)).all()


@given(st.integers(0, 65535))
def test_what_was_stored_once_is_stored_as_the_same_step_again(step):
    _, slope, low = map_steps(np.zeros(0), (0.0, 1.0), upward=True)
    read = np.array([step], np.uint16).astype(np.float32) * np.float32(slope) + np.float32(low)
    assert map_steps(np.minimum(read, 1), (0.0, 1.0), upward=True)[0][0] == step
