"""From a trained model to a version, a key, an answer over HTTP, and a bill: by the commands a person types."""

import json
import re
import signal

import httpx
import numpy as np
import pytest
from processes import RECIPE, begin, call

from pennyweight.engine.answers import probes
from pennyweight.store.artifacts import load


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained model as version 1 of "halves", in production, and a tenant with a small budget."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "halves.py").write_text(RECIPE.replace("EPOCHS", "1"))
    for words in (
        ("train", "halves.py", "-o", "halves.pw"),
        ("registry", "add", "halves.pw", "--name", "halves"),
        ("registry", "promote", "halves@1", "--why", "the first"),
        ("tariff", "halves", "--request", "0.001usd"),
    ):
        code, _, err = call(folder, *words)
        assert code == 0, err
    return folder


@pytest.fixture(scope="module")
def key(place):
    code, out, err = call(place, "tenants", "add", "acme", "--budget", "0.0035usd/day", "--rate", "100/s", "--json")
    assert code == 0, err
    return json.loads(out)["key"]


@pytest.fixture
def address(place, key):
    """Where a server of "halves" answers; it is told to stop afterwards, and must end well."""
    server = begin(place, "serve", "halves", "--port", "0")
    said = server.stdout.readline()
    assert re.fullmatch(r"halves@1 at http://127\.0\.0\.1:\d+\n", said), server.communicate(timeout=60)
    yield said.split()[-1]
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, "")


def test_a_version_is_served_under_a_budget_and_billed(place, key, address):
    x, recorded = probes(load(place / "halves.pw"))
    body = {"inputs": [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": x[0].tolist()}]}
    replies = [
        httpx.post(
            f"{address}/v2/models/halves/infer", json=body, headers={"authorization": f"Bearer {key}"}, timeout=30
        )
        for _ in range(5)
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert replies[0].headers["x-model-version"] == "1"
    told = replies[0].json()["outputs"][0]
    np.testing.assert_allclose(np.reshape(told["data"], told["shape"]), recorded[:1], atol=1e-5)
    code, out, err = call(place, "bill", "--by", "tenant,model,version", "--json")
    assert code == 0, err
    (line,) = json.loads(out)
    assert (line["tenant"], line["model"], line["version"]) == ("acme", "halves", "1")
    assert (line["requests"], line["total_nusd"]) == (3, 3_000_000)
    assert line["compute_s"] > 0
    code, out, _ = call(place, "tenants", "list", "--json")
    (stands,) = json.loads(out)["budgets"]
    assert stands["spent_nusd"] == 3_000_000
    assert key.rpartition("_")[2] not in out


def test_the_history_tells_who_put_what_into_production_and_why(place):
    code, out, _ = call(place, "registry", "history", "halves", "--json")
    assert code == 0
    added, promoted = json.loads(out)
    assert (added["kind"], promoted["kind"]) == ("add", "promote")
    assert (promoted["alias"], promoted["number"], promoted["why"]) == ("production", 1, "the first")
    code, out, _ = call(place, "registry", "list")
    assert "halves@1" in out
    assert "production" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serve", "nothing"), "no model named 'nothing'"),
        (("serve", "halves@7"), "no version of halves named '7'"),
        (("registry", "add", "halves.py", "--name", "halves"), "There is no artifact at halves.py"),
        (("registry", "add", "halves.pw", "--name", "../up"), "cannot be named '../up'"),
        (("registry", "rollback", "halves"), "nothing else before"),
        (("tenants", "add", "x", "--budget", "5usd"), "is no budget"),
        (("tenants", "add", "x", "--rate", "fast"), "is no rate"),
        (("tenants", "add", "x", "--zone", "Mars"), "no time zone named 'Mars'"),
        (("tariff", "nothing"), "no model named 'nothing'"),
        (("bill", "--month", "November"), "is no month"),
        (("bill", "--by", "colour"), "no split of a bill named 'colour'"),
        (("bill", "--store", "mysql://host/x"), "cannot be at mysql://"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(place, words, said):
    code, out, err = call(place, *words)
    assert code == 2
    assert said in err
    assert "To fix:" in err
    assert "Traceback" not in err + out


def test_a_server_that_everybody_could_reach_is_not_started_without_a_key(place, tmp_path):
    store = tmp_path / "team.db"
    for words in (("registry", "add", "halves.pw", "--name", "halves"), ("registry", "promote", "halves@1")):
        code, _, err = call(place, *words, "--store", store)
        assert code == 0, err
    code, _, err = call(place, "serve", "halves", "--host", "0.0.0.0", "--store", store)  # ruff: ignore[hardcoded-bind-all-interfaces] - that it is refused is tested
    assert code == 2
    assert "there is no key yet" in err
