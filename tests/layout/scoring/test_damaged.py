"""One tiny table of each common kind, damaged as tables are: the same answers, or a sentence on the row."""

import csv
import io

import numpy as np
import pytest

from pennyweight.layout.rows import Rows
from pennyweight.layout.scoring.score import score

TABLES = {
    "vtrain": {
        "set": "multi-node", "gpu": "8 per node; 800 Gb/s", "layers": "48", "hidden": "8192", "heads": "64",
        "seq_len": "2048", "schedule": "1F1B", "tp": "8", "dp": "2", "pp": "4", "micro_batch": "1",
        "global_batch": "64", "recompute": "full", "step_time_ms": "5000",
    },
    "nemo": {
        "release": "26.04", "model": "Qwen3_30B_a3B", "system": "DGX-H100", "n_gpus": "16", "precision": "FP8",
        "global_batch": "1024", "micro_batch": "1", "seq_len": "4096", "fsdp": "0", "tp": "1", "pp": "1", "cp": "1",
        "vp": "n/a", "ep": "16", "subtask": "", "variant": "", "tokens_per_s_gpu": "9000",
    },
    "bigscience": {
        "section": "x", "gpu": "A100-SXM4-80GB", "size": "52B", "mem": "60GB", "oom": "", "other": "", "context": "",
        "notes": "", "nodes": "8", "tp": "4", "pp": "4", "dp": "4", "micro_batch": "1", "hidden": "8192",
        "n_gpus": "64",
    },
    "megatron_published": {
        "table": "SC21", "model": "x", "gpu": "A100-80GB", "layers": "24", "hidden": "2304", "heads": "24",
        "seq_len": "2048", "layers_per_virtual_stage": "", "recompute": "full", "tp": "1", "pp": "1", "dp": "32",
        "micro_batch": "16", "global_batch": "512", "n_gpus": "32", "step_time_s_reported": "4",
        "step_time_s_derived": "4",
    },
}  # fmt: skip
EVERY = sorted(TABLES)


def written(tmp_path, rows, *, change=lambda text: text, **kinds):
    body = io.StringIO()
    writer = csv.DictWriter(body, list(rows[0]), lineterminator="\n", **kinds)
    writer.writeheader()
    writer.writerows(rows)
    path = tmp_path / "damaged.csv"
    path.write_text(change(body.getvalue()), newline="")
    return Rows.read(path)


def answer(rows):
    (target,) = score(rows).targets
    return target.forecast.value


@pytest.fixture
def whole(tmp_path):
    return {name: answer(written(tmp_path, [row, row])) for name, row in TABLES.items()}


def first_line(change):
    return lambda text: "".join((change(text.partition("\n")[0]), "\n", text.partition("\n")[2]))


HARMLESS = {
    "a mark of byte order": {"change": lambda text: "\ufeff" + text},
    "lines of Windows": {"change": lambda text: text.replace("\n", "\r\n")},
    "semicolons": {"delimiter": ";"},
    "quotes": {"quoting": csv.QUOTE_ALL},
    "blank lines": {"change": lambda text: "\n" + text.replace("\n", "\n\n")},
    "capitals": {"change": first_line(str.upper)},
    "spaces in names": {"change": first_line(lambda head: head.replace("_", " ").title())},
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("damage", HARMLESS)
def test_what_does_no_harm_changes_no_answer(name, damage, tmp_path, whole):
    row = TABLES[name]
    np.testing.assert_allclose(answer(written(tmp_path, [row, row], **HARMLESS[damage])), whole[name], rtol=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_the_order_of_columns_does_not_matter(name, tmp_path, whole):
    backwards = dict(reversed(TABLES[name].items()))
    np.testing.assert_allclose(answer(written(tmp_path, [backwards, backwards])), whole[name], rtol=1e-9)


WRONG = [("tp", "-2"), ("tp", "many"), ("tp", "inf"), ("micro_batch", "-1"), ("pp", "1e400")]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("column", "cell"), WRONG)
def test_a_count_that_cannot_be_is_said_and_costs_only_its_row(name, column, cell, tmp_path, whole):
    rows = written(tmp_path, [{**TABLES[name], column: cell}, TABLES[name]])
    scored = score(rows)
    assert np.isnan(scored.targets[0].forecast.value[0])
    assert column in scored.notes[0]
    assert scored.targets[0].forecast.value[1] == pytest.approx(whole[name][1], rel=1e-9)


WORDS = {
    "vtrain": [("recompute", "sometimes")],
    "nemo": [("precision", "narrow"), ("release", "newest")],
    "bigscience": [("size", "huge")],
    "megatron_published": [("recompute", "1e400")],
}


@pytest.mark.parametrize(("name", "column", "word"), [(name, *each) for name, found in WORDS.items() for each in found])
def test_a_word_that_nobody_knows_is_said(name, column, word, tmp_path, whole):
    rows = written(tmp_path, [{**TABLES[name], column: word}, TABLES[name]])
    (target,) = score(rows).targets
    assert f"{column} is '{word}', which says nothing known" in target.forecast.outside[0]
    assert "says nothing known" not in target.forecast.outside[1]
    assert target.forecast.value[1] == pytest.approx(whole[name][1], rel=1e-9)
