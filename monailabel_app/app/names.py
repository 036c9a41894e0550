"""Moved to `monailabel_app.names`."""

from __future__ import annotations

from monailabel_app.names import checked_name

__all__ = ["checked_name"]
