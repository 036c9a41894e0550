"""Each request against a server that says what it was asked."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.replies import parse_case, parse_info, parse_sample
from UncertaintySegLib.server.results import parse_promise, parse_result


def test_connect_says_what_the_server_offers_and_who_we_are(asker, wire_server):
    answer = asker.ask("connect")
    info = parse_info(answer["info"])
    assert info.models["phantom_low_rank"].calibration == "never calibrated"
    assert (answer["health"], answer["who"]["username"], answer["url"]) == ({"status": "ok"}, "anna", wire_server.url)


def test_a_stock_server_without_our_routes_can_be_connected_to(asker, wire_server):
    for ours in ("/uncertainty", "/auth"):
        wire_server.refusals[ours] = (404, b'{"detail": "Not Found"}')
    answer = asker.ask("connect")
    assert (answer["health"], answer["who"]) == ({}, {})


def test_the_next_case_comes_with_its_unzipped_scan(asker, wire_server, phantom_case):
    params = {"model": "phantom_low_rank", "skip": ["phantom_9"], "client_id": "anna"}
    answer = asker.ask("next_case", strategy="predictive_entropy", params=params)
    sample = parse_sample(answer["sample"])
    assert (sample.id, sample.strategy, sample.provenance["of"]) == ("phantom_1", "predictive_entropy", 12)
    assert sample.remaining["unlabelled"] == 1
    assert wire_server.bodies[-1] == ("/activelearning/predictive_entropy", params)
    scan = Path(answer["scan"])
    assert scan.suffix == ".nii"
    assert np.array_equal(nib.load(scan).get_fdata(), nib.load(phantom_case.scan).get_fdata())


def test_no_next_case_says_why(asker, wire_server):
    wire_server.remaining = 0
    answer = asker.ask("next_case", strategy="random")
    assert answer["scan"] is None
    assert answer["sample"]["reason"] == "all images have a final label"


def test_an_opened_case_is_leased_and_brings_the_label_that_it_has(asker, wire_server, phantom_case):
    answer = asker.ask("open_case", image="phantom_1", client_id="anna")
    row = parse_case(answer["row"])
    assert (answer["label"], row.status, row.lease.annotator) == (None, "leased", "anna")
    asker.ask("submit", image="phantom_1", file=str(phantom_case.label), params={"model": "phantom_low_rank"})
    label = Path(asker.ask("open_case", image="phantom_1")["label"])
    assert label.read_bytes() == gzip.decompress(phantom_case.label.read_bytes())


def test_an_inference_brings_label_and_the_maps_asked_for(asker, phantom_case):
    answer = asker.ask("infer", model="phantom_low_rank", image="phantom_1", maps=["mutual_information", "no_such_map"])
    result = parse_result(answer["result"])
    assert [region.rank for region in result.regions] == [1, 2]
    assert result.risk_coverage[0].expected_error is None
    assert (result.guarantee, result.guarantee_reason) == (None, "never calibrated")
    assert list(answer["maps"]) == ["mutual_information"]
    assert Path(answer["label"]).parent.name == result.key
    risk = nib.load(answer["maps"]["mutual_information"])
    assert np.allclose(risk.get_fdata(), nib.load(phantom_case.risk).get_fdata())


def test_a_run_that_begins_with_its_case_is_not_asked_for_again(asker, wire_server):
    ahead = {"model": "phantom_low_rank", "params": {"seed": 3}, "maps": ["mutual_information"]}
    asker.ask("next_case", strategy="random", ahead=ahead)
    asker.wait(lambda: wire_server.count("GET", "/uncertainty/v1/results/k3y/maps/mutual_information") == 1)
    time.sleep(0.2)  # it is unzipped then
    answer = asker.ask("infer", image="phantom_1", anyway=False, **ahead)
    assert (parse_result(answer["result"]).key, list(answer["maps"])) == ("k3y", ["mutual_information"])
    assert [body["params"] for path, body in wire_server.bodies if path.endswith("/jobs")] == [{"seed": 3}]
    asker.ask("infer", image="phantom_1", **{**ahead, "params": {"seed": 4}})
    assert wire_server.count("POST", "/uncertainty/v1/jobs") == 2


def test_no_run_begins_where_a_person_is_asked_first(asker, wire_server):
    wire_server.refusals["/uncertainty/v1/check"] = (200, b'{"warnings": ["phantom_1 is an MR scan"]}')
    ahead = {"model": "phantom_low_rank", "params": {}, "maps": []}
    asker.ask("next_case", strategy="random", ahead=ahead)
    asker.wait(lambda: wire_server.count("POST", "/uncertainty/v1/check") == 1)
    answer = asker.ask("infer", image="phantom_1", anyway=False, **ahead)
    assert answer == {"warnings": ["phantom_1 is an MR scan"]}
    assert wire_server.count("POST", "/uncertainty/v1/jobs") == 0


def test_a_map_that_is_here_is_neither_sent_nor_unzipped_again(asker, wire_server):
    url = wire_server.job_result["risk"]["maps"]["predictive_entropy"]["url"]
    first = Path(asker.ask("fetch_maps", result="k3y", maps={"predictive_entropy": url})["maps"]["predictive_entropy"])
    before = first.stat().st_mtime_ns
    again = asker.ask("fetch_maps", result="k3y", maps={"predictive_entropy": url})["maps"]["predictive_entropy"]
    assert (Path(again), first.stat().st_mtime_ns) == (first, before)
    assert "If-None-Match" in wire_server.requests[-1][2]


def test_clicks_take_away_the_region_that_they_settle(asker, wire_server):
    before = parse_result(asker.ask("infer", model="phantom_low_rank", image="phantom_1")["result"])
    click = list(before.regions[0].ijk)
    corrections = {before.regions[0].structure: [click]}
    after = parse_result(asker.ask("condition", result=before.key, corrections=corrections)["result"])
    assert (after.moved, len(after.regions)) == ("shape", 1)
    assert after.remaining_error_ml < before.remaining_error_ml
    assert wire_server.bodies[-1] == ("/uncertainty/v1/results/k3y/condition", corrections)


def test_a_review_sends_the_label_with_what_is_trusted(asker, wire_server, phantom_case):
    params = {"trusted": "edits", "accepted": [[[0, 0, 0], [3, 3, 3]]]}
    answer = asker.ask(
        "review", result="k3y", file=str(phantom_case.label), params=params, maps=["error_probability", "anomaly"]
    )
    _query, _name, content, sent = wire_server.uploads[-1]
    assert (content, sent) == (phantom_case.label.read_bytes(), params)
    assert parse_result(answer["result"]).structures[0].anomaly_score == 0.0
    assert set(answer["maps"]) == {"error_probability", "anomaly"}


def test_a_promise_comes_for_the_bound_that_is_asked_for(asker, wire_server):
    sure = parse_promise(asker.ask("guarantee", result="k3y", alpha=0.1, delta=0.2))
    assert (sure.result, sure.guarantee.kind, sure.guarantee.delta) == ("k3y", "rcps", 0.2)
    assert wire_server.requests[-1][1] == "/uncertainty/v1/results/k3y/guarantee?alpha=0.1&delta=0.2"
    assert parse_promise(asker.ask("guarantee", result="k3y", alpha=0.1)).guarantee.kind == "crc"
    picked = parse_promise(asker.ask("guarantee", result="p1cked", alpha=0.1))
    assert (picked.guarantee, picked.guarantee_reason) == (None, "uncalibrated: this case was picked for its risk")


def test_samples_come_as_files_with_their_volumes(asker):
    drawn = asker.ask("samples", result="k3y", count=2, seed=5)["samples"]
    assert [sample["seed"] for sample in drawn] == [5, 5]
    assert all(Path(sample["label"]).is_file() and sample["volumes_ml"]["organ"] > 1 for sample in drawn)
    assert drawn[0]["label"] != drawn[1]["label"]


def test_a_scan_is_uploaded_under_its_id(asker, wire_server, phantom_case):
    assert asker.ask("upload_scan", file=str(phantom_case.scan), image="mine 1") == {"image": "mine 1"}
    assert wire_server.uploads[-1][0] == {"image": ["mine 1"]}


def test_training_says_whether_it_was_published(asker, wire_server):
    wire_server.job_result = {"published": False, "reason": "validates worse", "record": {}}
    assert asker.ask("train", model="phantom_low_rank", params={"scope": "head"})["reason"] == "validates worse"
    assert wire_server.bodies[-1][1]["kind"] == "train"


def test_a_training_that_the_role_does_not_cover_is_refused_in_the_servers_words(asker, wire_server):
    sentence = "anna is annotator, this needs trainer: ask whoever runs the server for the role"
    wire_server.refusals["/uncertainty/v1/jobs"] = (403, b'{"detail": "%s"}' % sentence.encode())
    with pytest.raises(ServerError, match=sentence):
        asker.ask("train", model="phantom_low_rank")


def test_a_connection_that_breaks_during_a_download_is_made_again(asker, wire_server):
    wire_server.truncations["/datastore/image"] = 1
    assert Path(asker.ask("next_case", strategy="random")["scan"]).is_file()
    assert wire_server.count("GET", "/datastore/image") == 2
