"""Before a model runs: what the server says of a scan that the model was not made for."""

from __future__ import annotations

from Testing.Python.servers import TASK

STRANGER = "phantom_deterministic" if TASK == "hippocampus" else "hippocampus_deterministic"


def test_a_scan_of_another_modality_is_warned_of_and_its_own_is_not(server, image):
    def warnings(model: str) -> list[str]:
        reply = server.http.post("/uncertainty/v1/check", json={"model": model, "image": image})
        assert reply.status_code == 200, reply.text
        return reply.json()["warnings"]

    assert warnings(server.baseline) == []
    (warning,) = warnings(STRANGER)
    assert warning.startswith(f"{image} does not look like" if TASK == "hippocampus" else f"{image} looks like")


def test_the_modality_is_told_with_the_model(server):
    models = {model["name"]: model["modality"] for model in server.http.get("/uncertainty/v1/models").json()}
    assert models["hippocampus_deterministic"] == "MR"
    assert models["phantom_deterministic"] == "CT"


def test_what_is_not_there_is_named(server, image):
    for asked in ({"model": "nobody", "image": image}, {"model": server.baseline, "image": "nothing"}):
        reply = server.http.post("/uncertainty/v1/check", json=asked)
        assert reply.status_code == 404
        assert asked["model" if asked["model"] == "nobody" else "image"] in reply.text
