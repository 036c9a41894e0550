"""Requests made from the server's own OpenAPI schema: right and wrong ones, about things that are there and not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from Testing.Python.uncertaintyseg.tiny import give_random_weights, write_bundle, write_phantoms

SECONDS = 60
Known = Mapping[str, list[str]]
_MODES = list(schemathesis.GenerationMode)


def tiny_world(folder) -> tuple[list[str], list[Any]]:
    """Options of `serve` and the scans for a server that infers in no time."""
    write_phantoms(folder / "data", count=3)
    give_random_weights(write_bundle(folder / "models", "low_rank"))
    options = ["--models", str(folder / "models"), "--cache", str(folder / "cache")]
    return options, sorted((folder / "data" / "images").iterdir())


def known_things(server) -> dict[str, list[str]]:
    """Values that some parameters must have for a request to reach the code behind its checks."""
    images, model = server.images(), "tiny_low_rank"
    job = server.job(kind="infer", model=model, image=images[0])
    risk = server.ended(job)["result"]["risk"]
    with server.studies.joinpath(f"{images[0]}.nii.gz").open("rb") as file:
        session = server.http.put("/session/", files={"files": ("scan.nii.gz", file)}).json()["session_id"]
    info = server.http.get("/info/").json()
    return {
        **dict.fromkeys(("image", "label", "id"), images),
        **{name: [model] for name in ("model", "name")},
        "key": [risk["result"]],
        "job_id": [job],
        "session_id": [session],
        "tag": ["final", "original"],
        "strategy": list(info["strategies"]),
        "method": list(info["scoring"]),
    }


def operations(server) -> dict[str, Any]:
    """All operations of the schema by name, such as "GET /info/"."""
    schema = schemathesis.openapi.from_dict(server.http.get("/openapi.json").json())
    found = (result.ok() for result in schema.get_all_operations())
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def fuzz(server, operation, known: Known, examples: int) -> Counter[int]:
    """Send `examples` requests to one operation, none of which may be answered as a bug; count answers by status."""
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(st.data())
    def send(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=data.draw(st.sampled_from(_MODES))))
        if operation.method.upper() != "DELETE" or "image" not in operation.path:  # the scans stay
            _name_known_things(case, known, data)
        answer = case.call(base_url=server.url, timeout=SECONDS)
        statuses[answer.status_code] += 1
        check(answer)

    send()
    return statuses


def check(answer) -> None:
    """4xx says in JSON what is wrong; 5xx is a bug here."""
    request = f"{answer.request.method} {answer.request.url} {str(answer.request.body)[:400]}"
    assert answer.status_code < 500, f"{request}\n{answer.status_code} {answer.text}"
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert "json" in str(answer.headers["content-type"]), request
        assert isinstance(answer.json()["detail"], str), f"{request}\n{answer.text}"


def _name_known_things(case, known: Known, data: st.DataObject) -> None:
    body = case.body if isinstance(case.body, dict) else {}
    for container in (case.path_parameters, case.query, body):
        for name in sorted(set(container or {}) & set(known)):
            if data.draw(st.integers(0, 3)):
                container[name] = data.draw(st.sampled_from(known[name]))
