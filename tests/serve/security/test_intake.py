"""What may become a version: names that are no paths, files that hold no code, and nothing outside of them."""

import json
import os
import pickle  # ruff: ignore[suspicious-pickle-import] - to show that it is not run
import shutil
import tarfile
import zipfile

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from multiples import ROWS, multiple
from onnx import TensorProto, helper
from wires import PATH, head, said, status

from pennyweight.core import Artifact
from pennyweight.engine.answers import open_session, with_probes
from pennyweight.errors import PennyweightError
from pennyweight.serve.versions.registering import fetch, register
from pennyweight.store.artifacts import save
from pennyweight.store.team import registry
from pennyweight.store.team.opened import opened, reading


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An artifact that may be served, in a folder beside a file that nobody may touch."""
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
    (tmp_path / "canary").write_text("alive")
    artifact = multiple(1)
    return save(with_probes(artifact, open_session(artifact), ROWS), tmp_path / "times.pw")


def taken(tmp_path, folder, name="times"):
    with opened(str(tmp_path / "team.db")) as engine, engine.begin() as link:
        return register(link, folder, name)


def refused(tmp_path, folder, name="times"):
    """It is refused with a sentence, nothing is a version, and nothing ran."""
    with pytest.raises(PennyweightError):
        taken(tmp_path, folder, name)
    with opened(str(tmp_path / "team.db")) as engine, reading(engine) as link:
        assert registry.versions(link) == ()
    assert not (tmp_path / "marker").exists()
    assert (tmp_path / "canary").read_text() == "alive"


class Evil:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_what_may_be_served_is_taken(tmp_path, folder):
    assert str(taken(tmp_path, folder)) == "times@1"


@pytest.mark.parametrize("name", ["model.pt", "model.pkl", "model.joblib", "model.bin", "__init__.py"])
def test_a_pickle_beside_the_files_of_an_artifact_stays_outside(tmp_path, folder, name):
    body = pickle.dumps(Evil(tmp_path / "marker"))
    (folder / name).write_bytes(body)
    kept = fetch(taken(tmp_path, folder))
    assert name not in dict(kept.files)
    assert body not in dict(kept.files).values()
    assert not (tmp_path / "marker").exists()
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / name).write_bytes(body)
    with pytest.raises(PennyweightError):
        taken(tmp_path, alone, "other")


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "SHA256SUMS", "probes.safetensors", "MLmodel"])
def test_a_pickle_in_place_of_a_file_is_refused_and_not_run(tmp_path, folder, name):
    (folder / name).write_bytes(pickle.dumps(Evil(tmp_path / "marker")))
    refused(tmp_path, folder)


@pytest.mark.parametrize("kind", ["pickle", "pt", "joblib", "keras", "tar", "torchscript", "../onnx"])
def test_formats_that_hold_code_are_refused(tmp_path, folder, kind):
    (tmp_path / "other").mkdir()
    artifact = Artifact(kind, (("model.bin", pickle.dumps(Evil(tmp_path / "marker"))),), (("input_shape", [4]),))
    refused(tmp_path, save(artifact, tmp_path / "other" / "evil.pw"))


@pytest.mark.parametrize("of", ["onnx", "torch", "openvino", "sklearn"])
def test_a_pickle_in_an_artifact_of_an_allowed_format_is_refused_and_not_run(tmp_path, folder, of):
    names = {"onnx": "model.onnx", "torch": "graph.json", "openvino": "model.xml", "sklearn": "estimator.json"}
    body = pickle.dumps(Evil(tmp_path / "marker"))
    facts = {"input_shape": [4], "input_dtype": "float32", "outputs": "values"}
    facts["serve"] = {"runtime": "onnxruntime", "batch": 1, "threads": 1, "precision": "float32"}
    made = Artifact(of, ((names[of], body), ("weights.safetensors", body)), tuple(sorted(facts.items())))
    refused(tmp_path, save(made, tmp_path / "evil.pw"))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_are_refused_and_not_unpacked(tmp_path, folder, kind):
    path = tmp_path / f"times.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as made:
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
            made.addfile(link)
            made.add(tmp_path / "canary", "link/marker")
            made.add(tmp_path / "canary", "../marker")
    else:
        with zipfile.ZipFile(path, "w") as made:
            made.writestr("../marker", "x")
    refused(tmp_path, path)
    shutil.copy(path, folder / "model.onnx")
    refused(tmp_path, folder)


def test_a_link_in_an_artifact_is_refused(tmp_path, folder):
    body = (folder / "model.onnx").read_bytes()
    (tmp_path / "outside.onnx").write_bytes(body)
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(tmp_path / "outside.onnx")
    refused(tmp_path, folder)


def with_external(location, where="initializer"):
    """A model whose weights are said to be in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 4]) for name in "xy")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if where == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    graph = helper.make_graph(nodes, "times", [x], [y], [tensor] if where == "initializer" else [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serve = {"runtime": "onnxruntime", "batch": 1, "threads": 1, "precision": "float32"}
    meta = {"input_dtype": "float32", "input_shape": [4], "outputs": "values", "serve": serve}
    return Artifact("onnx", (("model.onnx", model.SerializeToString()),), tuple(sorted(meta.items())))


@pytest.mark.parametrize("where", ["initializer", "constant"])
@pytest.mark.parametrize("location", ["../canary", "canary", "/etc/passwd", "a/../../canary", "weights.bin"])
def test_weights_outside_of_the_file_are_refused(tmp_path, folder, location, where):
    refused(tmp_path, save(with_external(location, where), tmp_path / "outside.pw"))
    flavour = tmp_path / "mlflow"
    flavour.mkdir()
    (flavour / "MLmodel").write_text("flavors:\n  onnx:\n    data: model.onnx\n")
    (flavour / "model.onnx").write_bytes(with_external(location, where).files[0][1])
    refused(tmp_path, flavour)


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/passwd", "model.onnx/../../canary", ".hidden", "a\\b", 7, None]
)
def test_a_foreign_folder_cannot_say_that_its_model_is_elsewhere(tmp_path, folder, name):
    flavour = tmp_path / "mlflow"
    flavour.mkdir()
    (flavour / "MLmodel").write_text(json.dumps({"flavors": {"onnx": {"data": name}}}))
    refused(tmp_path, flavour)


def test_yaml_of_a_foreign_folder_makes_no_objects(tmp_path, folder):
    flavour = tmp_path / "mlflow"
    flavour.mkdir()
    (flavour / "MLmodel").write_text(f"flavors: !!python/object/apply:os.mkdir ['{tmp_path / 'marker'}']\n")
    refused(tmp_path, flavour)


PATHS = [
    "../times",
    "..",
    ".",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "%2e%2e%2f",
    "file://x",
    "times\x00",
    "times#a",
    "times?a",
    "TIMES",
    "tímes",
    "a" * 65,
    "",
    "-rf",
    "times\n",
    "{{7*7}}",
    "$(id)",
    "a;b",
    "．．／",
]  # fmt: skip


@pytest.mark.parametrize("name", PATHS, ids=repr)
def test_a_name_that_could_be_a_path_or_a_program_is_refused(tmp_path, folder, name):
    refused(tmp_path, folder, name)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=some.text(max_size=80))
def test_no_name_reaches_the_disk_unless_it_is_one(house, name):
    """Asked for as a model over HTTP: only what is a name can be found, everything else is not there."""
    before = sorted(house.folder.rglob("*"))
    path = "/v2/models/" + "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "surrogatepass")) + "/infer"
    raw = head("POST", path, Host="127.0.0.1", Content_Length="0", Authorization=f"Bearer {house.keys['acme']}")
    assert status(said(house, raw)) in ({400, 404} if name != "times" else {200, 400})
    assert [each for each in sorted(house.folder.rglob("*")) if each not in before] == []


@pytest.mark.parametrize("number", ["../1", "1/..", "-1", "1e0", "%00", "9" * 100, "１"])
def test_a_version_is_a_number(house, number):
    reply = httpx.post(
        f"{house.address}/v2/models/times/versions/{number}/infer", headers=house.bearer["acme"], timeout=10
    )
    assert reply.status_code in {400, 404, 405}


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "application/python-pickle", "application/vnd.bentoml+pickle"]
)
def test_a_body_that_is_a_pickle_is_no_question_and_not_run(house, kind, tmp_path):
    marker = house.folder / "marker"
    bodies = [pickle.dumps(Evil(marker), protocol) for protocol in range(6)]
    array = tmp_path / "array.npy"
    np.save(array, np.array([Evil(marker)], dtype=object), allow_pickle=True)
    for body in (*bodies, array.read_bytes()):
        for more in (
            {},
            {"inference-header-content-length": str(len(body))},
            {"payload-container": "NdarrayContainer"},
        ):
            headers = house.bearer["acme"] | {"content-type": kind} | more
            reply = httpx.post(house.address + PATH, content=body, headers=headers, timeout=60)
            assert reply.status_code == 400
    assert not marker.exists()
