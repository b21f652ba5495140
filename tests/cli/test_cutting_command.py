"""`pennyweight cut` as a user meets it."""

import json

from llamas import TEXT, write_llama
from processes import call


def test_a_model_is_cut_and_what_went_is_told(tmp_path):
    write_llama(tmp_path / "tiny", layers=3, noise=0.5)
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "words.txt").write_text(TEXT[:90])
    given = ("cut", "tiny", "--layers", "1", "--ffn", "25%", "--heads", "50%", "--calibrate", "text.txt", "-o", "out")
    code, out, err = call(tmp_path, *given)
    assert code == 0, err
    assert "Needs at most" in out.splitlines()[1]
    for part in ("Chosen by", "Groups of heads", "32 neurons went", "moved by", "KV cache"):
        assert part in out
    code, out, err = call(tmp_path, "cut", "tiny", "--vocab", "words.txt", "-o", "words", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["dropped"]["tokens"] > 0
    assert told["after"]["parameters"] < told["before"]["parameters"]
    code, _, err = call(tmp_path, *given)
    assert (code, "is finished" in err, "To fix: give --force" in err) == (2, True, True)
    code, _, err = call(tmp_path, "cut", "tiny", "--ffn", "25%", "-o", "other")
    assert (code, "--calibrate TEXT.txt" in err) == (2, True)
    assert not (tmp_path / "other").exists()
