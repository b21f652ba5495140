"""Artifacts at a URL come back as they went in, and a changed byte is noticed."""

from uuid import uuid4

import fsspec
import pytest

from pennyweight.core import Artifact
from pennyweight.errors import BadInputError, CorruptError, UnknownNameError
from pennyweight.store.remote import RemoteStore

ARTIFACT = Artifact("onnx", (("model.onnx", b"graph"), ("probes.safetensors", b"rows")), (("job", "digits"),))


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    """An empty place: in memory, then in a folder."""
    return RemoteStore(f"memory://{uuid4().hex}" if request.param == "memory" else f"file://{tmp_path}/models")


def test_what_was_put_comes_back_under_its_digest(store):
    assert list(store) == []
    digest = store.put(ARTIFACT)
    assert digest == ARTIFACT.digest == store.put(ARTIFACT)
    again = store.get(digest)
    assert (again.files, again.facts, again.format) == (ARTIFACT.files, ARTIFACT.facts, "onnx")
    assert list(store) == [digest]


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_changed_byte_is_noticed(store, name):
    digest = store.put(ARTIFACT)
    files, root = fsspec.core.url_to_fs(store.url)
    files.pipe_file(f"{root}/{digest}/{name}", b"other")
    with pytest.raises(CorruptError, match="changed"):
        store.get(digest)


def test_a_missing_file_is_noticed_and_a_missing_manifest_is_no_artifact(store):
    digest = store.put(ARTIFACT)
    files, root = fsspec.core.url_to_fs(store.url)
    files.rm(f"{root}/{digest}/model.onnx")
    with pytest.raises(CorruptError, match=r"model\.onnx"):
        store.get(digest)
    files.rm(f"{root}/{digest}/manifest.json")
    with pytest.raises(UnknownNameError):
        store.get(digest)


@pytest.mark.parametrize("digest", ["../../etc", "0" * 63, "", "0" * 64])
def test_what_is_not_there_is_unknown(store, digest):
    with pytest.raises(UnknownNameError):
        store.get(digest)


def test_a_name_that_leads_elsewhere_and_an_unknown_url_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="cannot hold"):
        RemoteStore(f"file://{tmp_path}").put(Artifact("onnx", (("../up", b""),)))
    with pytest.raises(BadInputError, match="fsspec"):
        RemoteStore("nowhere://x").put(ARTIFACT)
