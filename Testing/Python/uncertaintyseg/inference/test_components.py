"""What a configuration names shortly is found where MONAI itself finds it, without looking through MONAI each time."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from monai.bundle import ComponentLocator

from uncertaintyseg.inference import components


@pytest.mark.parametrize("name", ["Compose", "Orientationd", "DynUNet", "nothing", "uncertaintyseg.heads.HEADS"])
def test_a_name_is_found_where_monai_finds_it(name):
    found = components.Locator().get_component_module_name(name)
    assert found == ComponentLocator().get_component_module_name(name)


def test_all_is_looked_through_once_and_anew_where_a_module_has_come(monkeypatch):
    components.Locator().get_component_module_name("Compose")
    before = components._found.cache_info()
    assert components.Locator().get_component_module_name("ComeLate") is None
    assert components._found.cache_info().misses == before.misses
    late = ModuleType("monai.late")
    late.ComeLate = type("ComeLate", (), {"__module__": "monai.late"})
    monkeypatch.setitem(sys.modules, "monai.late", late)
    assert components.Locator().get_component_module_name("ComeLate") == "monai.late"
