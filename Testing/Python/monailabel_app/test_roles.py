"""One table says which role each route needs; nothing the server can do is missing from it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest

from monailabel_app.api.roles import RULES, rules_of
from uncertaintyseg.tokens import Role


def walk(routes: Iterable) -> Iterator:
    """All routes of an app, those of included routers as well."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from walk(included.routes)


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str]]:
    """Method and path of every route of the whole server, hidden ones too."""
    from monailabel_app.asgi import app

    found = []
    for route in walk(app.router.routes):
        mounted = not getattr(route, "methods", None)
        path = f"{route.path}/{{path:path}}" if mounted else route.path
        found += [(method, path) for method in ({"GET"} if mounted else route.methods - {"HEAD"})]
    return found


def test_every_route_has_its_role(routes):
    assert len(routes) > 40
    without = [
        f"{method} {path}"
        for method, path in routes
        if method not in rules_of(re.sub(r"{(\w+):path}", "a/b", re.sub(r"{\w+}", "a", path)))
    ]
    assert not without, f"give these a row in monailabel_app/api/roles.py: {without}"


def test_every_row_is_a_route(routes):
    assert not {(rule.method, rule.path) for rule in RULES} - set(routes)


def test_whatever_changes_something_needs_a_log_in_and_more_than_looking():
    for rule in RULES:
        if rule.method != "GET" and rule.path != "/auth/token":
            assert rule.role is not None, rule
            assert rule.role >= Role.annotator, rule


def test_what_needs_no_log_in_is_known_by_name():
    assert sorted(rule.path for rule in RULES if rule.role is None) == [
        "/auth/",
        "/auth/token",
        "/favicon.ico",
        "/uncertainty/v1/health",
    ]


def test_no_path_falls_under_two_roles():
    for rule in RULES:
        sample = re.sub(r"{(\w+):path}", "a/b", re.sub(r"{\w+}", "a", rule.path))
        fitting = [other for other in RULES if other.method == rule.method and other.pattern.match(sample)]
        assert len({other.role for other in fitting}) == 1, fitting
