"""The one order: every list of structures or regions begins with the same one."""

from __future__ import annotations

import pytest

from uncertaintyseg.review import order as of_the_server
from UncertaintySegLib.logic import order as of_the_module
from UncertaintySegLib.server.results import Structure

ERRORS = {"a": 0.2, "b": None, "c": 0.7, "d": 0.2, "e": 0.0}
ROWS = [Structure(name, number, 1.0, expected_error_ml=ml) for number, (name, ml) in enumerate(ERRORS.items(), 1)]


@pytest.mark.parametrize(
    "worst_first", [of_the_server.worst_first, of_the_module.worst_first], ids=("server", "module")
)
def test_most_expected_to_be_wrong_comes_first_and_what_is_not_known_last(worst_first):
    assert [row.name for row in worst_first(ROWS)] == ["c", "a", "d", "e", "b"]
    assert worst_first([]) == []
