"""A checkpoint's folder becomes a version: only what is served of it is taken, and nothing in it is ever run."""

import json
import os
import pickle  # ruff: ignore[suspicious-pickle-import] - what must be refused
import sys
from pathlib import Path

import pytest
from llamas import write_llama
from sqlalchemy import text

from pennyweight.cli.serving import named
from pennyweight.errors import BadInputError, CorruptError, PennyweightError
from pennyweight.serve.versions.checkpoints import Way, facts_of, is_checkpoint, ready
from pennyweight.serve.versions.registering import kept, register
from pennyweight.store import folders
from pennyweight.store.place import home
from pennyweight.store.team import registry
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.usage import Price

MARK = "import pathlib; pathlib.Path({!r}).write_text('run')"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
    return write_llama(tmp_path / "tiny", layers=1, width=16, shards=2, context=32)


def place(version):
    return Path(version.place) / version.digest


def test_what_is_served_is_copied_and_the_rest_stays_where_it_is(folder):
    (folder / "README.md").write_text("# tiny")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    found = kept(folder, "tiny")
    names = {each.name for each in place(found).iterdir()}
    shards = {each.name for each in folder.glob("*.safetensors")}
    assert len(shards) > 1
    assert shards | {"config.json", "model.safetensors.index.json", "tokenizer.json", "manifest.json"} <= names
    assert not {"README.md", "pytorch_model.bin"} & names
    for each in shards:
        assert (place(found) / each).read_bytes() == (folder / each).read_bytes()
        assert not os.path.samefile(place(found) / each, folder / each)  # ruff: ignore[os-path-samefile] - the same file would change with it
    assert found.lineage == {"made": "hugging face", "family": "llama"}


def test_the_facts_are_those_of_the_config(folder):
    facts = facts_of(kept(folder, "tiny"))
    assert (facts["input_shape"], facts["classes"], facts["task"], facts["chats"]) == ([32], 384, "language", True)
    assert facts["serve"]["runtime"] == "openvino"
    assert facts_of(kept(folder, "tiny", way=Way("torch")))["serve"]["runtime"] == "torch"


def test_a_precision_that_a_runtime_does_not_have_is_refused(folder):
    assert facts_of(kept(folder, "tiny", way=Way("", "int8")))["serve"]["precision"] == "int8"
    with pytest.raises(BadInputError, match="torch does not serve checkpoints in int8"):
        kept(folder, "tiny", way=Way("torch", "int8"))
    with pytest.raises(BadInputError, match="vllm does not serve checkpoints"):
        kept(folder, "tiny", way=Way("vllm"))


def test_code_in_a_folder_is_neither_taken_nor_run(folder, tmp_path, pool):
    mark = tmp_path / "mark"
    code = MARK.format(str(mark))
    for name in ("modeling_tiny.py", "configuration_tiny.py", "tokenization_tiny.py", "sitecustomize.py"):
        (folder / name).write_text(code)
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "configuration_tiny.Tiny", "AutoModelForCausalLM": "modeling_tiny.Tiny"}
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": auto}))
    said = json.loads((folder / "tokenizer_config.json").read_text())
    auto = {"AutoTokenizer": ["tokenization_tiny.Tiny", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(said | {"auto_map": auto}))
    for runtime in ("openvino", "torch"):
        found = kept(folder, "tiny", way=Way(runtime))
        served = ready(found, facts_of(found), Price("tiny"), pool)
        assert served.choir.chorus.context == 32
    assert not mark.exists()
    assert not [each for each in sys.modules if each.endswith("_tiny")]
    assert not list(place(found).glob("*.py"))


@pytest.fixture
def pool():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as found:
        yield found


def test_an_architecture_that_only_code_of_the_folder_knows_is_refused(folder, tmp_path, pool):
    mark = tmp_path / "mark"
    (folder / "modeling_tiny.py").write_text(MARK.format(str(mark)))
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "modeling_tiny.Tiny", "AutoModelForCausalLM": "modeling_tiny.Tiny"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "tiny", "auto_map": auto}))
    found = kept(folder, "tiny")
    with pytest.raises(BadInputError, match="not known to transformers"):
        ready(found, facts_of(found), Price("tiny"), pool)
    assert not mark.exists()


def test_pickled_weights_are_refused_and_not_opened(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "mark", "run"))

    for each in folder.glob("model*"):
        each.unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadInputError, match="pickled weights only"):
        kept(folder, "tiny")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "*-00001-of-*", "config.json"])
def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, name):
    elsewhere, inside = tmp_path / "elsewhere", next(folder.glob(name))
    inside.rename(elsewhere)
    inside.symlink_to(elsewhere)
    with pytest.raises(CorruptError, match="link out of its folder"):
        kept(folder, "tiny")


def test_a_snapshot_of_a_download_cache_is_taken_with_its_links(folder, tmp_path):
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0abc", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, each in enumerate(sorted(folder.iterdir())):
        each.rename(blobs / str(number))
        (snapshot / each.name).symlink_to(Path("..") / ".." / "blobs" / str(number))
    found = kept(snapshot, "tiny")
    assert not any(each.is_symlink() for each in place(found).iterdir())


def test_a_missing_shard_and_one_that_is_cut_short_are_said_before_anything_is_kept(folder):
    shard = next(folder.glob("*-00002-of-*"))
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(CorruptError, match="cut short"):
        kept(folder, "tiny")
    shard.unlink()
    with pytest.raises(BadInputError, match="shard model-00002-of"):
        kept(folder, "tiny")
    assert not list((home() / "artifacts").glob("*"))


def test_a_folder_without_a_fast_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadInputError, match=r"has no tokenizer\.json"):
        kept(folder, "tiny")


def test_a_classifier_neither_continues_texts_nor_makes_vectors(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
    with pytest.raises(BadInputError, match="neither continues texts"):
        kept(write_llama(tmp_path / "bert", family="bert", layers=1, width=16, labels=3), "bert")


def test_what_only_looks_like_an_encoder_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForConditionalGeneration"]}))
    with pytest.raises(BadInputError, match="neither continues texts"):
        kept(folder, "tiny")


def test_a_byte_that_changed_after_it_was_kept_is_found(folder, pool):
    found = kept(folder, "tiny")
    shard = next(place(found).glob("*-00001-of-*"))
    body = bytearray(shard.read_bytes())
    body[-1] ^= 1
    shard.write_bytes(body)
    with pytest.raises(CorruptError, match="has changed since it was written"):
        ready(found, facts_of(found), Price("tiny"), pool)


def test_a_disk_that_is_full_leaves_nothing(folder, monkeypatch):
    def full(handle, body):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(PennyweightError, match="no room to write"):
        kept(folder, "tiny")
    assert not list((home() / "artifacts").glob("*"))


def test_the_same_content_is_one_version_and_a_url_is_refused(folder, tmp_path):
    with opened(str(tmp_path / "team.db")) as engine, engine.begin() as link:
        assert [register(link, folder, "tiny").number for _ in range(2)] == [1, 1]
    with pytest.raises(BadInputError, match="this machine's disk"):
        kept(folder, "tiny", "memory://there")


def test_copying_does_not_hold_the_store(folder, tmp_path, monkeypatch):
    """Copying takes minutes where weights are large; servers must be able to write their rows meanwhile."""
    store = str(tmp_path / "team.db")
    with opened(store) as engine:
        seen = []
        copy = folders.keep

        def looking(*args):
            with engine.begin() as link:
                link.execute(text("CREATE TABLE written_meanwhile (x INTEGER)"))
            seen.append(True)
            return copy(*args)

        monkeypatch.setattr(folders, "keep", looking)
        assert named([f"{folder}/"], store) == ("tiny@1",)
        assert seen
        with reading(engine) as link:
            assert registry.get(link, "tiny@1").lineage["family"] == "llama"


def test_a_name_without_a_slash_is_a_models():
    assert named(["digits", "gpt@staging"], "") == ("digits", "gpt@staging")


def rewritten(folder, **more):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def test_a_config_that_names_more_layers_than_there_can_be_is_refused_at_once(folder):
    rewritten(folder, num_hidden_layers=10**9)
    with pytest.raises(BadInputError, match="1000000000 layers"):
        kept(folder, "tiny")


def test_a_config_that_does_not_say_how_many_tokens_there_are_is_refused(folder):
    rewritten(folder, vocab_size=None)
    with pytest.raises(BadInputError, match="vocab_size"):
        kept(folder, "tiny")


@pytest.mark.parametrize("more", [{"rms_norm_eps": "x"}, {"rope_scaling": 7}, {"num_attention_heads": None}])
def test_a_config_that_makes_no_sense_is_not_for_pages(folder, more):
    rewritten(folder, **more)
    with pytest.raises(BadInputError, match="OpenVINO does not serve"):
        kept(folder, "tiny", way=Way("openvino"))


def test_weights_that_a_graph_would_leave_out_are_not_for_pages(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))
    folder = write_llama(tmp_path / "two", layers=2, width=16, context=32)
    rewritten(folder, num_hidden_layers=1)
    with pytest.raises(BadInputError, match=r"does not use, such as 'model.layers.1"):
        kept(folder, "two", way=Way("openvino"))


def test_what_is_an_artifact_is_no_checkpoint(folder, tmp_path):
    assert is_checkpoint(folder)
    (folder / "manifest.json").write_text("{}")
    assert not is_checkpoint(folder)
    assert not is_checkpoint(tmp_path / "none")
