"""The server asks nobody else: no address in a question is fetched, and no code beside a model is imported."""

import contextlib
import json
import socket
import subprocess
import sys
import threading

import httpx
import psutil
import pytest
from multiples import ROWS, multiple
from wires import PATH

from pennyweight.engine.answers import open_session, with_probes
from pennyweight.store.artifacts import save


@pytest.fixture
def stub():
    """A service of this machine that should never be asked; whoever does is noted."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    asked, over = [], threading.Event()

    def watch():
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                line, _ = listener.accept()
                asked.append(1)
                line.close()

    thread = threading.Thread(target=watch)
    thread.start()
    yield listener.getsockname()[1], asked
    over.set()
    thread.join()
    listener.close()


def test_the_stub_notes_who_asks(stub):
    port, asked = stub
    with contextlib.suppress(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=2)
    assert asked


FORMS = (
    "http://127.0.0.1:{}/",
    "http://[::ffff:127.0.0.1]:{}/",
    "http://2130706433:{}/",
    "http://localhost:{}/",
    "//127.0.0.1:{}",
)


@pytest.mark.parametrize("form", FORMS)
def test_no_address_in_a_question_is_fetched(house, stub, form):
    port, asked = stub
    url = form.format(port)
    tensor = {"name": url, "shape": [1, 4], "datatype": "BYTES", "data": [url] * 4, "url": url, "$ref": url}
    for body in (
        {"inputs": [tensor], "id": url, "parameters": {"url": url, "callback": url, "model": url}},
        {"inputs": [tensor | {"datatype": "FP32"}], "image_url": url, "api_base": url},
        house.question | {"model_url": url, "parameters": {"webhook": url}},
    ):
        headers = house.bearer["acme"] | {"x-callback-url": url, "referer": url}
        httpx.post(f"{house.address}{PATH}?url={url}", json=body, headers=headers, timeout=60)
    assert asked == []


def test_the_server_has_no_connection_but_those_to_who_asks(house):
    for each in psutil.Process(house.process.pid).net_connections("inet"):
        assert each.laddr.port == house.port


def test_code_beside_a_model_is_not_imported(tmp_path):
    artifact = multiple(1)
    folder = save(with_probes(artifact, open_session(artifact), ROWS), tmp_path / "times.pw")
    for name in ("modeling.py", "__init__.py", "sitecustomize.py", "handler.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    (folder / "config.json").write_text(
        json.dumps({"auto_map": {"AutoModel": "modeling.Model"}, "trust_remote_code": True})
    )
    code = (
        "import sys\n"
        "from pennyweight.engine.answers import open_session\n"
        "from pennyweight.store.artifacts import load\n"
        "open_session(load(sys.argv[1]))\n"
        "print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert not [line for line in done.stdout.splitlines() if line.startswith(str(tmp_path))]
    assert not (tmp_path / "marker").exists()
