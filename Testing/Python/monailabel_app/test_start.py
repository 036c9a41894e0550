"""How a server starts, and how it says that it cannot."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import threading
from pathlib import Path

import httpx
import pytest

from monailabel_app import __main__ as program
from Testing.Python.servers import environment

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = ["--conf", "patience", "2"]
STOCK = [sys.executable, "-m", "monailabel.main", "start_server", "--app", "monailabel_app", "--host", "127.0.0.1"]


@pytest.fixture
def refuses(tmp_path, free_port, monkeypatch, capsys):
    """Runs the program that `uncertaintyseg serve` becomes; it must exit with 2 and one message that has the words."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    for name in ("keep_private", "start"):
        monkeypatch.setattr(program, name, lambda *_arguments: pytest.fail("it would have started"))

    def run(*words: str, **options: object) -> None:
        studies = tmp_path / "studies"
        studies.mkdir(exist_ok=True)
        arguments = {"studies": studies, "port": free_port, **options}
        line = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", ["monailabel_app", *line])
        with pytest.raises(SystemExit) as ended:
            program.main()
        assert ended.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.strip().splitlines()) == 1, printed.err
        for word in words:
            assert word in printed.err

    return run


def test_a_port_in_use_is_named_by_the_command(serve_command, run_to_the_end, free_port, tmp_path):
    (tmp_path / "studies").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        ended = run_to_the_end([*serve_command, "--studies", str(tmp_path / "studies"), "--port", str(free_port)])
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert str(free_port) in ended.stderr
    assert "another port" in ended.stderr


def test_a_missing_studies_folder_is_named(refuses, tmp_path):
    refuses(str(tmp_path / "nowhere"), "no such folder", studies=tmp_path / "nowhere")


def test_studies_that_are_a_file_are_named(refuses, tmp_path):
    file = tmp_path / "scan.nii.gz"
    file.touch()
    refuses(str(file), "no such folder", studies=file)


def test_a_studies_folder_that_cannot_be_written_is_named(refuses):
    unwritable = Path("/proc")  # not even root can
    if not unwritable.is_dir():
        pytest.skip("no folder here that nobody can write to")
    refuses("/proc", "not writable", studies=unwritable)


def test_another_server_on_the_same_studies_is_refused(refuses, server):
    refuses(str(server.studies), "another server", studies=server.studies)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])
def test_promise_1_an_address_beyond_this_machine_is_refused_without_tokens(refuses, host):
    refuses(host, "must log in", "uncertaintyseg token", host=host)


def test_a_missing_models_folder_is_named(refuses, tmp_path):
    refuses(str(tmp_path / "models"), models=tmp_path / "models")


@pytest.fixture(scope="module")
def stock_server(launch, tmp_path_factory):
    """The issue's own line, on an empty studies folder."""
    made = [ROOT / "monailabel_app" / name for name in ("model", "lib", "logs", "bin")]
    before = {path for path in made if path.exists()}
    folder = tmp_path_factory.mktemp("stock")
    server = launch([*STOCK, "--conf", "cache", str(folder), *PATIENCE, "--uvicorn_app", "monailabel_app.asgi:app"])
    yield server
    for path in set(made) - before:
        shutil.rmtree(path, ignore_errors=True)  # another worker may have been quicker


def test_the_stock_command_starts_with_our_asgi_app(stock_server):
    assert stock_server.http.get("/info/").json()["name"] == "SlicerUncertaintySeg"
    sample = stock_server.http.post("/activelearning/random", json={}).json()
    assert sample["reason"] == "the studies folder holds no images"


@pytest.mark.parametrize("end", ["", "\r\npassword="])
def test_a_client_that_sends_half_is_cut_off_and_others_are_served(stock_server, end):
    url = httpx.URL(stock_server.url)
    header = f"POST /auth/token HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 99\r\n"
    with socket.create_connection((url.host, url.port), timeout=30) as client:
        client.sendall(f"{header}Content-Type: application/x-www-form-urlencoded\r\n{end}".encode())
        assert stock_server.http.get("/info/").status_code == 200
        with contextlib.suppress(ConnectionError):
            assert client.recv(1) == b""


def test_it_says_where_it_listens_once_it_does(stock_server):
    assert f"listening on {stock_server.url}" in stock_server.log.read_text(encoding="utf-8").splitlines()


def test_it_says_while_its_worker_warms_up(stock_server):
    assert stock_server.wait_until(lambda: stock_server.http.get("/info/").json()["warming_up"] is False, seconds=240)


def test_it_stops_at_once_although_a_client_waits_for_an_inference(stock_server, big_scan):
    with big_scan.open("rb") as file:
        stock_server.http.put("/datastore/image", files={"file": file})
    answers = []
    url = f"{stock_server.url}/infer/{stock_server.model}?image=big"
    waiting = threading.Thread(target=lambda: answers.append(httpx.post(url, timeout=60)))
    waiting.start()
    [job] = stock_server.wait_until(lambda: stock_server.http.get("/uncertainty/v1/jobs").json())
    stock_server.started(job["id"])
    stock_server.process.terminate()
    stock_server.process.wait(timeout=30)  # as the end of the inference would come later and answer 200
    waiting.join(timeout=30)
    assert answers[0].status_code == 409
    assert "stopping" in answers[0].json()["detail"]


def test_without_our_asgi_app_it_refuses_and_prints_the_line(run_to_the_end, free_port, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    ended = run_to_the_end([*STOCK, "--studies", str(studies), "--port", str(free_port)])
    assert ended.returncode != 0
    line = "monailabel start_server --app monailabel_app --studies DIR --host 127.0.0.1"
    assert f"{line} --uvicorn_app monailabel_app.asgi:app" in ended.stdout + ended.stderr
    assert not any(studies.iterdir())
