"""A trained model as transformers loads it: equal answers, token by token; and nothing left where that is not so."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load, load_file, save

from pennyweight.core import ServeSpec
from pennyweight.engine.answers import open_session, probes, softmax
from pennyweight.engine.exporting import export
from pennyweight.engine.shrinking import Wish, plan, shrink
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.chorus import open_chorus
from pennyweight.runtimes.tokens import tokenizer_of
from pennyweight.store.artifacts import load as load_artifact
from pennyweight.store.artifacts import save as save_artifact
from tests.tiny_texts import trained_artifact


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def both(request, tmp_path_factory):
    """An artifact, and the folder that was written of it."""
    place = tmp_path_factory.mktemp("exporting")
    artifact = trained_artifact(place / "home", tied=request.param)
    return artifact, place / "llama", export(artifact, place / "llama")


def theirs(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def test_transformers_answers_as_the_model_does(both):
    import torch

    artifact, folder, made = both
    x = np.random.default_rng(3).integers(0, 320, (4, 32))
    ours = open_session(artifact).predict(x)
    found = theirs(folder)(torch.from_numpy(x)).logits.detach().numpy()
    assert np.abs(found - ours).max() < 1e-4
    assert softmax(ours).max() > 0.02  # it has learned something to be wrong about
    assert made.drift < 1e-5
    assert made.tokens == probes(artifact)[0].size


def test_transformers_continues_a_text_token_by_token_as_the_model_does(both):
    import torch

    artifact, folder, _ = both
    prompt = tokenizer_of(artifact).encode("def parse(self, value")
    chorus = open_chorus(artifact, ServeSpec(**artifact.facts["serve"]), open_session(artifact))
    logits, memory = chorus.prefill([prompt])
    ours = []
    for _ in range(12):
        ours.append(int(logits[0].argmax()))
        logits, memory = chorus.step(np.array(ours[-1:]), memory)
    told = theirs(folder).generate(torch.from_numpy(prompt[None]), max_new_tokens=12, do_sample=False)
    assert told[0, len(prompt) :].tolist() == ours


def test_its_tokenizer_reads_as_the_model_was_trained(both):
    from transformers import AutoTokenizer

    artifact, folder, _ = both
    ours, found = tokenizer_of(artifact), AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in ("def f(x):\n\n    return x  # ok", " Ünïcödé 🪙", "<|endoftext|>"):
        assert found.encode(text) == ours.encode(text).tolist()
        assert found.decode(found.encode(text)) == text
    assert (found.eos_token, found.eos_token_id, len(found)) == ("<|endoftext|>", 0, 320)
    assert ours.ends == {0}
    assert "".join([*map((told := ours.pieces()).put, ours.encode("né 🪙")), told.end()]) == "né 🪙"


def test_the_folder_holds_the_model_and_nothing_else(both):
    artifact, folder, made = both
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    tensors = load_file(folder / "model.safetensors")
    assert ("lm_head.weight" in tensors) is not artifact.facts["transformers"]["tie_word_embeddings"]
    assert sum(each.numel() for each in tensors.values()) == made.weights
    assert not list(folder.parent.glob(".llama*"))


def test_the_folder_shrinks(both, tmp_path):
    _, folder, made = both
    receipt = shrink(plan(folder, Wish("int8", 32)), tmp_path / "small")
    assert receipt.rounded == 2 * 7
    assert sum(path.stat().st_size for path in (tmp_path / "small").glob("*.safetensors")) < made.byte


def test_a_folder_that_is_there_is_left_alone(both, tmp_path):
    artifact, folder, _ = both
    with pytest.raises(BadInputError, match="there already"):
        export(artifact, folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(BadInputError, match="there already"):
        export(artifact, tmp_path / "link")


def altered(artifact, change):
    """The artifact with other weights."""
    tensors = change(load(artifact.file("weights.safetensors")))
    files = {**dict(artifact.files), "weights.safetensors": save(tensors)}
    return replace(artifact, files=tuple(files.items()))


def test_weights_that_answer_otherwise_are_not_written(both, tmp_path):
    artifact, _, _ = both
    name = "model.layers.0.self_attn.q_proj.weight"
    turned = altered(artifact, lambda tensors: tensors | {name: 5 * tensors[name].flip(0)})
    with pytest.raises(CorruptError, match="answers otherwise"):
        export(turned, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_weights_that_answer_no_numbers_are_not_written(both, tmp_path):
    artifact, _, _ = both
    name = "model.norm.weight"
    broken = altered(artifact, lambda tensors: tensors | {name: tensors[name] * np.nan})
    with pytest.raises(CorruptError, match="answers otherwise"):
        export(broken, tmp_path / "out")


def test_a_network_that_was_cut_is_refused_with_the_weight_that_differs(both, tmp_path):
    artifact, _, _ = both
    name = "model.layers.1.mlp.up_proj.weight"
    cut = altered(artifact, lambda tensors: tensors | {name: tensors[name][:64].clone()})
    lost = altered(artifact, lambda tensors: {each: tensors[each] for each in tensors if each != name})
    for odd in (cut, lost):
        with pytest.raises(BadInputError, match=f"such as {name}"):
            export(odd, tmp_path / "out")


def test_what_says_nothing_of_transformers_or_is_of_another_format_is_refused(both, tmp_path):
    artifact, _, _ = both
    meta = tuple((name, each) for name, each in artifact.meta if name != "transformers")
    with pytest.raises(BadInputError, match="transformers_config"):
        export(replace(artifact, meta=meta), tmp_path / "out")
    with pytest.raises(BadInputError, match="format onnx"):
        export(replace(artifact, format="onnx"), tmp_path / "out")
    config = {"model_type": "nothing_known"}
    with pytest.raises(BadInputError, match="makes no model"):
        export(replace(artifact, meta=(*meta, ("transformers", config))), tmp_path / "out")


def test_the_artifact_on_the_disk_is_the_one_that_is_exported(both, tmp_path):
    artifact, folder, _ = both
    export(load_artifact(save_artifact(artifact, tmp_path / "a.pw")), tmp_path / "again")
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
