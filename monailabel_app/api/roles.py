"""Which role each route needs: one table, and what it does not name nobody may use."""

from __future__ import annotations

from dataclasses import dataclass
from re import Pattern

from starlette.routing import compile_path

from uncertaintyseg.tokens import Role

ANYONE = None
"""Routes that answer before a log-in; they say nothing about patients, models or people."""

_TABLE: dict[Role | None, tuple[str, ...]] = {
    ANYONE: (
        "GET /uncertainty/v1/health",
        "GET /auth/",
        "POST /auth/token",
        "GET /favicon.ico",
    ),
    Role.viewer: (
        "GET /",
        "GET /docs",
        "GET /openapi.json",
        "GET /static/{path:path}",
        "GET /ohif/{path:path}",
        "GET /auth/token/valid",
        "GET /info/",
        "GET /model/info/{model}",
        "GET /datastore/",
        "GET /datastore/image",
        "GET /datastore/image/info",
        "GET /datastore/label",
        "GET /datastore/label/info",
        "GET /batch/infer",
        "GET /train/",
        "GET /scoring/",
        "GET /proxy/dicom/{path:path}",
        "GET /uncertainty/v1/jobs",
        "GET /uncertainty/v1/jobs/{job_id}",
        "GET /uncertainty/v1/cases",
        "GET /uncertainty/v1/cases/{image}/versions",
        "GET /uncertainty/v1/cases/{image}/versions/{number}/label",
        "GET /uncertainty/v1/cases/{image}/versions/{number}/compare",
        "GET /uncertainty/v1/cases/{image}/readers",
        "GET /uncertainty/v1/cases/{image}/readers/{numbers}/reader_disagreement.nii.gz",
        "GET /uncertainty/v1/models",
        "GET /uncertainty/v1/models/{name}",
        "GET /uncertainty/v1/results/{key}/guarantee",
        "GET /uncertainty/v1/results/{key}/label.nii.gz",
        "GET /uncertainty/v1/results/{key}/maps/{name}.nii.gz",
        "GET /uncertainty/v1/results/{key}/samples/{name}.nii.gz",
    ),
    Role.annotator: (
        "POST /infer/wsi/{model}",
        "POST /infer/wsi_v2/{model}",
        "POST /infer/{model}",
        "POST /activelearning/{strategy}",
        "POST /scoring/",
        "POST /scoring/{method}",
        "DELETE /scoring/",
        "PUT /datastore/",
        "PUT /datastore/image",
        "PUT /datastore/image/info",
        "PUT /datastore/label",
        "PUT /datastore/label/info",
        "PUT /datastore/updatelabelinfo",
        "DELETE /datastore/label",
        "PUT /session/",
        "GET /session/{session_id}",
        "DELETE /session/{session_id}",
        "POST /proxy/dicom/{path:path}",
        "POST /uncertainty/v1/check",
        "POST /uncertainty/v1/match",
        "POST /uncertainty/v1/jobs",  # training and batch inference ask for a trainer
        "DELETE /uncertainty/v1/jobs/{job_id}",
        "POST /uncertainty/v1/cases/{image}/lease",
        "DELETE /uncertainty/v1/cases/{image}/lease",
        "POST /uncertainty/v1/cases/{image}/versions/{number}/restore",
        "POST /uncertainty/v1/results/{key}/condition",
        "POST /uncertainty/v1/results/{key}/review",
        "POST /uncertainty/v1/results/{key}/samples",
        "POST /uncertainty/v1/results/{key}/maps/{name}/dicom",
    ),
    Role.reviewer: (
        "GET /uncertainty/v1/cases/{image}/archive",
        "POST /uncertainty/v1/cases/{image}/archive",
    ),
    Role.trainer: (
        "POST /train/",
        "POST /train/{model}",
        "DELETE /train/",
        "POST /batch/infer/{model}",
        "DELETE /batch/infer",
        "GET /model/{model}",
        "GET /datastore/dataset",
        "POST /uncertainty/v1/models/{name}/restore",
    ),
    Role.admin: (
        "DELETE /datastore/",
        "DELETE /datastore/image",
        "PUT /model/{model}",
        "DELETE /model/{model}",
        "GET /logs/",
        "GET /logs/gpu",
        "POST /reload",
        "GET /uncertainty/v1/audit",
        "POST /uncertainty/v1/backup",
    ),
}


@dataclass(frozen=True)
class Rule:
    """One row: a route and the least role that may use it."""

    method: str
    path: str
    pattern: Pattern[str]
    role: Role | None


RULES = [
    Rule(method, path, compile_path(path)[0], role)
    for role, rows in _TABLE.items()
    for method, path in (row.split() for row in rows)
]


def rules_of(path: str) -> dict[str, Rule]:
    """Return the rules of a request's path by method; none when no route has it.

    A path that only lacks or only adds the last slash counts as well: the router sends its client to the right one.
    """
    other_slash = path[:-1] if path.endswith("/") else f"{path}/"
    return _matching(path) or _matching(other_slash)


def _matching(path: str) -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for rule in RULES:
        if rule.pattern.match(path):
            # of two routes that fit, the one that asks for more counts
            other = found.get(rule.method)
            found[rule.method] = rule if other is None or (rule.role or 0) > (other.role or 0) else other
    return found
