from __future__ import annotations

import hashlib
import threading
import time

import pytest

from UncertaintySegLib.errors import Cancelled, ServerError
from UncertaintySegLib.server import transport
from UncertaintySegLib.server.client import Client
from UncertaintySegLib.server.replies import Label

RESULTS = "/uncertainty/v1/results/"


@pytest.fixture
def client(wire_server) -> Client:
    return Client(wire_server.url, timeout=5)


def test_info_lists_models_labels_and_strategies(client):
    info = client.info()
    model = info.models["phantom_low_rank"]
    assert (info.name, info.strategies) == (
        "Uncertainty server",
        {"random": "any case", "predictive_entropy": "highest entropy"},
    )
    assert (model.head, model.maps) == ("low_rank", ("predictive_entropy", "mutual_information"))
    assert [(label.id, label.name) for label in model.labels] == [(1, "organ"), (2, "lesion")]


def test_a_stock_model_has_labels_but_no_head_and_no_maps(client):
    model = client.info().models["stock_model"]
    assert model.head is None
    assert model.maps == ()
    assert len(model.labels) == 2


def test_the_next_sample_says_why(client):
    sample = client.next_sample("predictive_entropy")
    assert (sample.id, sample.score) == ("phantom_1", 0.123)
    assert "rank 1 of 12" in sample.reason


def test_there_is_no_next_sample_when_all_are_labelled(client, wire_server):
    wire_server.remaining = 0
    assert client.next_sample("random") is None


def test_a_scan_is_downloaded_whole_under_the_servers_name(client, wire_server, tmp_path):
    seen = []
    path = client.fetch_image("phantom_1", tmp_path, seen.append)
    assert path == tmp_path / "phantom_1.nii.gz"
    assert path.read_bytes() == wire_server.case.scan.read_bytes()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_infer_returns_colours_structures_and_provenance(client, wire_server):
    wire_server.job_states = [
        {"state": "queued", "fraction": 0.0, "queue_position": 2},
        {"state": "running", "fraction": 0.5},
        {"state": "done", "fraction": 1.0},
    ]
    seen = []
    result = client.infer("phantom_low_rank", "phantom_1", progress=lambda job: seen.append((job.state, job.fraction)))
    assert seen == [("queued", 0.0), ("running", 0.5), ("done", 1.0)]
    assert result.labels[0] == Label(1, "organ", (90, 200, 110), "10200004")
    assert result.structures[0].volume_ml_95 == (16.1, 18.42)
    assert result.structures[1].volume_ml_95 is None
    assert result.provenance["head"] == "low_rank"
    assert result.maps["mutual_information"].source == "epistemic"


def test_a_map_already_here_is_not_sent_again(client, wire_server, tmp_path):
    result = client.infer("phantom_low_rank", "phantom_1")
    first = client.fetch_map(result, "predictive_entropy", tmp_path)
    before = first.stat().st_mtime_ns
    again = client.fetch_map(result, "predictive_entropy", tmp_path)
    _, _, headers = wire_server.requests[-1]
    assert headers["If-None-Match"].strip('"') == hashlib.sha256(first.read_bytes()).hexdigest()
    assert again == first
    assert again.stat().st_mtime_ns == before


def test_a_map_that_changed_here_is_fetched_again(client, wire_server, tmp_path):
    result = client.infer("phantom_low_rank", "phantom_1")
    path = client.fetch_map(result, "predictive_entropy", tmp_path)
    path.write_bytes(b"spoilt")
    client.fetch_map(result, "predictive_entropy", tmp_path)
    assert path.read_bytes() == wire_server.case.risk.read_bytes()


def test_a_label_is_uploaded_as_one_form_field_with_its_tag(client, wire_server, tmp_path):
    content = bytes(range(256)) * 3000
    file = tmp_path / "mine.nii.gz"
    file.write_bytes(content)
    seen = []
    params = {"model": "phantom_low_rank", "result": "k3y", "seconds_open": 3.5}
    assert client.upload_label("phantom 1/ä", file, params=params, progress=seen.append)["label"] == "phantom 1/ä"
    query, name, received, sent = wire_server.uploads[0]
    assert query == {"image": ["phantom 1/ä"], "tag": ["final"]}
    assert sent == params
    assert (name, received) == ("mine.nii.gz", content)
    assert seen[-1] == 1.0
    assert len(seen) > 2


def test_scores_come_by_image(client, wire_server):
    wire_server.job_result = {"scores": {"phantom_1": 0.5}, "measure": "predictive_entropy", "model": "m"}
    assert client.score("phantom_low_rank") == {"phantom_1": 0.5}


def test_the_token_travels_as_bearer_and_only_to_its_server(wire_server, tmp_path):
    client = Client(wire_server.url, token="s3cret")
    client.info()
    assert wire_server.requests[-1][2]["Authorization"] == "Bearer s3cret"
    honest = wire_server.job_result
    honest["label"] = "http://elsewhere.example/label.nii.gz"
    wire_server.job_result = honest
    result = client.infer("phantom_low_rank", "phantom_1")
    with pytest.raises(ServerError, match="another server"):
        client.fetch_label(result, tmp_path)


@pytest.mark.parametrize(
    "url", ["http://seg.example.org:8000", "http://192.0.2.7", "seg.example.org", "http://[2001:db8::1]"]
)
def test_no_token_travels_in_the_clear_to_another_machine(url):
    with pytest.raises(ServerError, match="use its https:// address"):
        Client(url, token="s3cret")


@pytest.mark.parametrize("url", ["https://seg.example.org", "http://localhost:8000", "http://[::1]:8000", "127.0.0.1"])
def test_a_token_may_travel_encrypted_or_on_this_machine(url):
    assert Client(url, token="s3cret").url.endswith(url)


def test_dropped_connections_are_made_again(client, wire_server):
    wire_server.drops["/info/"] = 2
    assert client.info().version == "0.1.0"
    assert wire_server.count("GET", "/info/") == 3


def test_a_connection_that_keeps_dropping_is_named_in_the_error(client, wire_server, monkeypatch):
    monkeypatch.setattr(transport, "_PAUSES", (0.01, 0.01))
    wire_server.drops["/info/"] = 99
    with pytest.raises(ServerError, match=f"The connection to {wire_server.url} dropped"):
        client.info()


def test_a_request_that_may_have_had_its_effect_is_not_repeated(client, wire_server):
    wire_server.drops["/uncertainty/v1/jobs"] = 1
    with pytest.raises(ServerError, match="dropped"):
        client.submit("infer", "phantom_low_rank", "phantom_1")
    assert wire_server.count("POST", "/uncertainty/v1/jobs") == 1


def test_a_download_cut_short_is_fetched_again_and_leaves_no_pieces(client, wire_server, tmp_path):
    wire_server.truncations["/datastore/image"] = 1
    path = client.fetch_image("phantom_1", tmp_path)
    assert path.read_bytes() == wire_server.case.scan.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_stopped_download_leaves_nothing(client, tmp_path):
    def stop(_fraction):
        raise Cancelled

    with pytest.raises(Cancelled):
        client.fetch_image("phantom_1", tmp_path, stop)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_server_is_given_up(wire_server):
    wire_server.delays["/info/"] = 30.0
    started = time.monotonic()
    with pytest.raises(ServerError, match=r"did not answer within 0\.2 seconds"):
        Client(wire_server.url, timeout=0.2).info()
    assert time.monotonic() - started < 15  # not as long as the server is silent, however slow the machine


def test_no_server_says_how_to_start_one():
    with pytest.raises(ServerError, match=r"No MONAI Label server answers at http://127.0.0.1:9: start one with `unc"):
        Client("http://127.0.0.1:9").info()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://host:port", ""])
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(ServerError, match="should look like http"):
        Client(url)


def test_an_address_may_lack_the_scheme_and_carry_a_slash(wire_server):
    assert Client(wire_server.url.replace("http://", " ") + "/ ").info().version == "0.1.0"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, b'{"detail": "No image \'x\' in the studies folder."}', "No image 'x' in the studies folder."),
        (403, b'{"detail": "anna is viewer, this needs annotator"}', "anna is viewer, this needs annotator"),
        (404, b'{"detail": "Not Found"}', "start the server with `uncertaintyseg serve`"),
        (422, b'{"detail": [{"loc": ["body", "model"], "msg": "field required"}]}', "body.model: field required"),
        (401, b'{"detail": "Not authenticated"}', "asks for a valid access token"),
        (500, b"Internal Server Error", r"The server failed at POST /uncertainty/v1/jobs \(500"),
    ],
)
def test_a_refusal_gives_the_servers_reason(client, wire_server, status, body, message):
    wire_server.refusals["/uncertainty"] = (status, body)
    with pytest.raises(ServerError, match=message) as caught:
        client.submit("infer", "phantom_low_rank", "x")
    assert caught.value.status == status


def test_a_failed_job_gives_its_reason(client, wire_server):
    wire_server.job_states = [{"state": "failed", "error": "scan.nii.gz holds NaN: re-export it."}]
    with pytest.raises(ServerError, match=r"scan.nii.gz holds NaN"):
        client.infer("phantom_low_rank", "phantom_1")


def test_stopping_to_wait_cancels_the_job_on_the_server(client, wire_server):
    wire_server.job_states = [{"state": "running", "fraction": 0.1}]
    stop = threading.Event()

    def progress(_job):
        if stop.is_set():
            raise Cancelled
        stop.set()

    with pytest.raises(Cancelled):
        client.infer("phantom_low_rank", "phantom_1", progress=progress)
    assert wire_server.count("DELETE", "/uncertainty/v1/jobs/job-1") == 1


def test_a_job_cancelled_elsewhere_ends_as_cancelled(client, wire_server):
    wire_server.job_states = [{"state": "cancelled"}]
    with pytest.raises(Cancelled):
        client.infer("phantom_low_rank", "phantom_1")


def test_a_result_key_cannot_lead_out_of_the_download_folder(client, wire_server):
    evil = wire_server.job_result
    evil["risk"]["result"] = "../../evil"
    wire_server.job_result = evil
    with pytest.raises(ServerError, match="which is not a key"):
        client.infer("phantom_low_rank", "phantom_1")


def test_a_reply_without_a_needed_field_names_it(client, wire_server):
    poor = wire_server.job_result
    del poor["risk"]["structures"][0]["volume_ml"]
    wire_server.job_result = poor
    with pytest.raises(ServerError, match="lacks 'volume_ml'"):
        client.infer("phantom_low_rank", "phantom_1")


def test_a_file_name_from_the_server_cannot_lead_out_of_the_folder():
    assert transport._safe_name("../../etc/passwd") == "passwd"
    assert transport._safe_name(r"..\..\boot.ini") == "boot.ini"
    assert transport._safe_name("/") == "download"
