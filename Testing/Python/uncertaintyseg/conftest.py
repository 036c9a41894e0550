"""What the tests of the library share: hypothesis that repeats itself, and tiny models and data to run for real."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("repeatable")
