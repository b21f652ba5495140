"""From rows of one's own to a file and back: what it holds, what it moves, and what it refuses."""

import sqlite3
import tomllib

import numpy as np
import pytest

from pennyweight.errors import BadInputError, StorageError, UnknownNameError
from pennyweight.layout.rows import Rows
from pennyweight.layout.scoring.calibrating import Calibration, learn_own
from pennyweight.layout.scoring.score import score
from pennyweight.layout.tables.finding import kind_named, shipped

STEPS = "model,accelerator,devices,tp,micro_batch,global_batch,sequence,precision,step_s\n"
SERVED = "model,accelerator,engine,precision,tp,concurrency,prompt_tokens,output_tokens,ttft_s,tpot_s\n"
LAYOUTS = [(model, devices, tp, batch) for model, devices in (("llama-3-8b", 8), ("llama-3-70b", 64))
           for tp in (2, 4) for batch in (128, 256)]  # fmt: skip


def steps(path, slower=1.0, spread=0.02):
    """A table of steps that take `slower` times what is predicted."""
    lines = [f"{model},h100,{devices},{tp},1,{batch},8192,bf16,1" for model, devices, tp, batch in LAYOUTS]
    path.write_text(STEPS + "\n".join(lines) + "\n")
    value = score(Rows.read(path)).targets[0].forecast.value
    found = value * slower * np.exp(np.random.default_rng(0).normal(0, spread, len(value)))
    lines = [f"{line[:-2]},{seconds:.6g}" for line, seconds in zip(lines, found, strict=True)]
    path.write_text(STEPS + "\n".join(lines) + "\n")
    return path


def served(path, slower=1.4):
    lines = [
        f"qwen3-32b,h100,vllm,fp8,2,{users},{prompt},1024,1,1" for users in (1, 4, 16, 64) for prompt in (512, 4096)
    ]
    path.write_text(SERVED + "\n".join(lines) + "\n")
    ttft, tpot = (slower * target.forecast.value for target in reversed(score(Rows.read(path)).targets))
    lines = [f"{line[:-4]},{a:.6g},{b:.6g}" for line, a, b in zip(lines, ttft, tpot, strict=True)]
    path.write_text(SERVED + "\n".join(lines) + "\n")
    return path


def mape(path, calibration=None):
    rows = Rows.read(path)
    kind = score(rows).kind
    learnt = calibration.learnt(kind) if calibration else None
    return [target.summary()["mape"] for target in score(rows, learnt).targets]


def test_eight_steps_of_a_slower_cluster_move_all_its_steps(tmp_path):
    lesson = learn_own(steps(tmp_path / "steps.csv", slower=1.3))
    assert (lesson.kind, lesson.used, lesson.left_out) == ("own_steps", 8, ())
    calibration = Calibration({}).with_kind(lesson.kind, lesson.taught)
    assert mape(tmp_path / "steps.csv")[0] > 0.2
    assert mape(tmp_path / "steps.csv", calibration)[0] < 0.03
    assert lesson.taught.corrections["step_time_s"].factor == pytest.approx(1.3, abs=0.03)


def test_ten_rows_of_a_served_stack_move_the_others(tmp_path):
    lesson = learn_own(served(tmp_path / "served.csv"))
    assert (lesson.kind, lesson.used) == ("own_serving", 8)
    calibration = Calibration({}).with_kind(lesson.kind, lesson.taught)
    before, after = mape(tmp_path / "served.csv"), mape(tmp_path / "served.csv", calibration)
    assert min(before) > 0.25
    assert max(after) < 0.1


def test_what_is_kept_says_the_same(tmp_path):
    made = Calibration({})
    for path in (steps(tmp_path / "steps.csv", 1.2), served(tmp_path / "served.csv")):
        lesson = learn_own(path)
        made = made.with_kind(lesson.kind, lesson.taught)
    made.save(tmp_path / "new" / "mine.toml")
    again = Calibration.load(tmp_path / "new" / "mine.toml")
    assert again.text() == made.text()
    assert set(again.kinds) == {"own_steps", "own_serving"}
    for name in ("steps.csv", "served.csv"):
        np.testing.assert_allclose(mape(tmp_path / name, again), mape(tmp_path / name, made), rtol=1e-3)
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["mine.toml"]


def test_a_kind_that_was_not_taught_predicts_as_shipped():
    assert Calibration({}).learnt("vtrain") is shipped("vtrain")


def test_rows_of_a_published_layout_calibrate_too(samples, tmp_path):
    lines = (samples / "training" / "train_llmfoundry_mpt.csv").read_text().splitlines()
    (tmp_path / "mpt.csv").write_text("\n".join([*lines[:15], lines[20].replace(lines[20].split(",")[1], "")]) + "\n")
    lesson = learn_own(tmp_path / "mpt.csv")
    assert lesson.kind == "mpt"
    assert lesson.used >= 14


def test_misfits_and_rows_left_out_are_named_by_their_line(tmp_path):
    path = steps(tmp_path / "steps.csv", 1.1)
    lines = path.read_text().splitlines()
    seconds = float(lines[3].rsplit(",", 1)[1])
    lines[3] = lines[3].rsplit(",", 1)[0] + f",{9 * seconds:g}"
    lines += ["nonsense,h100,8,2,1,128,8192,bf16,4.0", lines[1].rsplit(",", 1)[0] + ","]
    path.write_text("\n".join(lines) + "\n")
    lesson = learn_own(path)
    assert lesson.misfits == {"step_time_s": (4,)}
    assert [line for line, _ in lesson.left_out] == [10, 11]
    assert "nonsense" in lesson.left_out[0][1]
    assert lesson.left_out[1][1] == "nothing was measured"


def test_a_ledger_is_told_from_a_table_and_says_what_it_lacks(tmp_path):
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("CREATE TABLE runs (id)")
    database.close()
    with pytest.raises(BadInputError, match=r"is a ledger: .* To fix: give a CSV of steps or requests"):
        learn_own(tmp_path / "ledger.db")


def test_a_table_without_measurements_cannot_calibrate(tmp_path):
    (tmp_path / "steps.csv").write_text(STEPS + "llama-3-8b,h100,8,2,1,128,8192,bf16,\n")
    with pytest.raises(BadInputError, match="both a measurement and a prediction"):
        learn_own(tmp_path / "steps.csv")
    with pytest.raises(BadInputError, match="cannot be read"):
        learn_own(tmp_path / "nowhere.csv")


def test_too_many_rows_for_a_kind_that_keeps_them_are_refused(tmp_path):
    path = served(tmp_path / "served.csv")
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *lines * 30]) + "\n")
    with pytest.raises(BadInputError, match="240 rows are too many"):
        learn_own(path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("nothing = 1", "no kind of table|says not what"),
        ("[own_steps]\nsource = 'a'\n", "says not what it was learned from"),
        ("[own_steps]\nsource = 'a'\nwhen = 'b'\n", "neither targets nor rows"),
        ("[own_steps]\nsource = 'a'\nwhen = 'b'\ntargets = 3\n", "targets that are none"),
        ("[own_steps]\nsource = 'a'\nwhen = 'b'\n[own_steps.targets.colour]\noffset = 1\n", "no target colour"),
        ("[own_steps]\nsource = 'a'\nwhen = 'b'\n[own_steps.targets.step_time_s]\noffset = 1\n", "no good"),
        ("[own_serving]\nsource = 'a'\nwhen = 'b'\n[own_serving.rows]\nmodel = ['a', 'b']\ntp = ['1']\n", "one length"),
        ("[own_serving]\nsource = 'a'\nwhen = 'b'\n[own_serving.rows]\nmodel = 'a'\n", "one length"),
        ("broken", "is not TOML"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused_by_its_name(tmp_path, body, said):
    (tmp_path / "mine.toml").write_text(body)
    with pytest.raises((BadInputError, UnknownNameError), match=said) as error:
        Calibration.load(tmp_path / "mine.toml")
    assert "mine.toml" in str(error.value)


def test_a_source_with_an_odd_name_is_kept_as_it_is(tmp_path):
    path = steps(tmp_path / 'a "b" \\ c.csv')
    lesson = learn_own(path)
    kept = tomllib.loads(Calibration({lesson.kind: lesson.taught}).text())
    assert kept["own_steps"]["source"] == path.name


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be kept"):
        Calibration({}).save(tmp_path / "file" / "mine.toml")


def test_the_rows_of_a_kind_that_is_no_longer_moved_by_rows_are_not_lost(tmp_path):
    lesson = learn_own(served(tmp_path / "served.csv"))
    assert lesson.taught.rows is not None
    assert kind_named("own_serving").columns <= lesson.taught.rows.columns.keys()
