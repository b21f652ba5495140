"""`pennyweight gguf` as a user meets it."""

import json

from llamas import write_llama
from processes import call


def test_a_folder_becomes_a_file_and_what_is_wrong_is_two_sentences(tmp_path):
    write_llama(tmp_path / "tiny", family="qwen3")
    code, out, err = call(tmp_path, "gguf", "tiny", "--to", "q8_0", "-o", "model.gguf")
    assert code == 0, err
    assert "Needs at most" in out.splitlines()[1]
    assert "model.gguf: qwen3, 25 tensors as q8_0." in out
    assert "Read back: 9 tensors are the same" in out
    code, out, err = call(tmp_path, "gguf", "tiny", "-o", "model.gguf", "--force", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["out"], told["to"], told["tensors"]) == ("model.gguf", "f16", 25)
    assert told["out_byte"] == (tmp_path / "model.gguf").stat().st_size
    code, out, err = call(tmp_path, "gguf", "tiny", "-o", "model.gguf")
    assert (code, out.count("already"), "To fix:" in err) == (2, 0, True)
    (tmp_path / "tiny/tokenizer.json").unlink()
    code, _, err = call(tmp_path, "gguf", "tiny", "-o", "other.gguf")
    assert (code, "no tokenizer.json" in err) == (2, True)
    assert not list(tmp_path.glob("other*"))
