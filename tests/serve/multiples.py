"""Versions that can be told apart by their answers: version n of "times" answers n times what it is asked."""

import time
from types import SimpleNamespace

import numpy as np
from onnx import TensorProto, helper

from pennyweight.core import Artifact
from pennyweight.engine.answers import open_session, with_probes
from pennyweight.serve.money.tariffs import ensure
from pennyweight.store.artifacts import ArtifactStore
from pennyweight.store.team import registry
from pennyweight.store.team.opened import opened
from pennyweight.store.team.registry import Move, Version
from pennyweight.store.team.usage import Price, set_price

ME = Move("ann", "a test")
WIDTH = 4
ROWS = np.arange(1, 1 + 2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)
CERTIFICATE = {"text": "at least 99%"}


def multiple(n):
    """A model that multiplies by n."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, (WIDTH, WIDTH), (n * np.eye(WIDTH)).ravel())
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", WIDTH]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "times", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serve = {"runtime": "onnxruntime", "batch": 1, "threads": 1, "precision": "float32"}
    meta = {"input_dtype": "float32", "input_shape": [WIDTH], "outputs": "values", "serve": serve}
    return Artifact("onnx", (("model.onnx", model.SerializeToString()),), tuple(sorted(meta.items())))


def added(link, place, n, *, certificate=None, honest=True):
    """Add version n, which must be the next one; if it is not honest, its probes are those of another model."""
    artifact = multiple(n)
    session = open_session(artifact if honest else multiple(n + 1))
    store = ArtifactStore(place)
    digest = store.put(with_probes(artifact, session, ROWS))
    made = registry.add(link, Version("times", 0, digest, str(store.root), certificate=certificate, made_by="ann"))
    assert made.number == n
    return made


def filled(store, place, versions=2):
    """A store with some versions of "times" that cost 1,000 nano-dollars a request; the first is in production."""
    with opened(str(store)) as engine, engine.begin() as link:
        for n in range(1, versions + 1):
            added(link, place / "artifacts", n)
        ensure(link, "times", SimpleNamespace(core_hour_usd=0.01))
        set_price(link, Price("times", request_nusd=1000))
        registry.promote(link, "times@1", "production", ME)


def asked(rows=ROWS, id_=""):
    """A request body."""
    rows = np.asarray(rows, np.float32)
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}
    return {"inputs": [tensor], "id": id_}


def factor(reply):
    """By how much a reply multiplied; it must be that of the version that it says it is from."""
    assert reply.status_code == 200, reply.text
    told = reply.json()["outputs"][0]["data"]
    found = told[0] / ROWS[0, 0]
    np.testing.assert_allclose(told, found * ROWS.ravel(), rtol=1e-6)
    assert reply.headers["x-model-version"] == str(round(found)) == reply.json()["model_version"]
    return round(found)


def until(what, within_s=120.0):
    """Wait until something is so."""
    end_s = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < end_s, "it did not come about in time"
        time.sleep(0.02)
    return found
