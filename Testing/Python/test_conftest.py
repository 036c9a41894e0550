"""The suite itself."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_the_tests_of_a_file_stay_in_one_process(request):
    """Else what they share is made once in each: a version of pytest that xdist does not know did that unseen."""
    assert request.node.nodeid.endswith("@test_conftest")
