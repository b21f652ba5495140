"""The command line as a user meets it: real processes, real files, exit codes."""

import json
import signal
import subprocess
import sys

import pytest
from processes import RECIPE, begin, call

COMMANDS = (
    "optimize",
    "run",
    "explain",
    "levers",
    "count",
    "data",
    "ledger",
    "calibrate",
    "prices",
    "fit",
    "estimate",
    "score",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "halves.py").write_text(RECIPE.replace("EPOCHS", "4"))
    return folder


@pytest.fixture(scope="module")
def optimized(place):
    code, out, err = call(place, "optimize", "halves.py", "--levers", "prune,runtime", "--trials", 3, "--json")
    assert code == 0, err
    return json.loads(out)


def test_optimize_prints_one_json_object_and_writes_report_and_winner(place, optimized):
    assert optimized["certificate"]["held"]
    assert optimized["saving"] > 0
    assert (place / "report.html").stat().st_size > 5000
    assert (place / "winner.pw" / "manifest.json").exists()


def test_the_winner_runs_and_proves_itself(place, optimized):
    code, out, _ = call(place, "run", "winner.pw", "--json")
    assert code == 0
    assert json.loads(out)["rows"] == 8


def test_the_winner_answers_rows_from_a_file(place, optimized):
    (place / "rows.csv").write_text("1,1,1,1,0,0,0,0\n0,0,0,0,1,1,1,1\n")
    code, out, _ = call(place, "run", "winner.pw", "--input", "rows.csv", "--json")
    assert code == 0
    first, second = json.loads(out)["answers"]
    assert first[1] > 0.5 > second[1]


def test_explain_tells_levers_cost_and_guarantee(place, optimized):
    code, out, _ = call(place, "explain", "winner.pw")
    assert code == 0
    for word in ("halves", "guarantee", "holds", "per prediction"):
        assert word in out


def test_the_ledger_sums_up_by_phase(place, optimized):
    code, out, _ = call(place, "ledger", "--by", "phase", "--json")
    assert code == 0
    assert {row["key"] for row in json.loads(out)["rows"]} >= {"train", "find"}


def test_a_dry_run_shows_a_predicted_front(place):
    code, out, _ = call(place, "optimize", "halves.py", "--dry-run", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["basis"] == "predicted"
    assert len(facts["runs"]) > 5


def test_levers_say_for_a_recipe_when_they_fit_and_why_not(place):
    code, out, _ = call(place, "levers", "halves.py", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["prune"]["fits"]
    assert not rows["prune_trees"]["fits"]
    assert rows["prune_trees"]["reason"]


def test_count_is_the_arithmetic(place):
    code, out, _ = call(place, "count", "halves.py", "--json")
    assert code == 0
    assert json.loads(out)["params"] == 8 * 128 + 128 + 128 * 128 + 128 + 128 * 2 + 2


def test_data_tells_splits_classes_and_what_they_can_show(place):
    code, out, err = call(place, "data", "halves.py")
    assert code == 0, err
    assert "halves: classify, accuracy at most 6 points worse" in out
    words = [line.split()[:4] for line in out.splitlines()]
    for row in (
        ["train", "900", "8", "float32"],
        ["select", "300", "8", "float32"],
        ["certify", "300", "8", "float32"],
    ):
        assert row in words
    assert "share of train" in out
    assert "takes at least 51" in out
    assert "LEAK" not in out
    assert not err


def test_data_in_json_is_one_object_with_the_folds_asked_for(place):
    code, out, err = call(place, "data", "halves.py", "--folds", 2, "--json")
    facts = json.loads(out)
    assert code == 0
    assert [part["rows"] for part in facts["splits"]] == [900, 300, 300]
    assert sum(facts["splits"][0]["answers"]["counts"]) == 900
    assert (facts["power"]["n"], facts["power"]["least"], facts["leaks"]) == (300, 51, [])
    assert facts["folds"]["mean"] == pytest.approx(sum(facts["folds"]["each"]) / 2)
    assert facts["folds"]["mean"] > 0.8
    assert "fold 2 of 2: accuracy" in err
    code, out, _ = call(place, "ledger", "--by", "phase", "--json")
    assert "find" in {row["key"] for row in json.loads(out)["rows"]}


def test_data_shouts_of_a_leak(place):
    leaky = RECIPE.replace("EPOCHS", "1").replace("split(x, y)", "split(np.tile(x, (2, 1)), np.tile(y, 2))")
    (place / "leaky.py").write_text(leaky)
    code, out, _ = call(place, "data", "leaky.py", "--folds", 2)
    assert code == 0
    assert out.count("LEAK: ") == 3
    assert "copies of others: the dedup lever" in out
    assert "2-fold cross-validation of the job as asked: accuracy 0." in out


def test_no_words_at_all_get_the_help(place):
    code, out, _ = call(place)
    assert code == 0
    assert "optimize" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(place, command):
    code, out, _ = call(place, command, "--help")
    assert code == 0
    assert "--json" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["optimize", "nowhere.py"], 2, "nowhere.py"),
        (["optimize", "halves.py", "--give-up", "lots"], 2, "0.3%"),
        (["optimize", "halves.py", "--give-up", "1%", "--floor", "accuracy=90%"], 2, "one of them"),
        (["optimize", "halves.py", "--levers", "prun"], 2, "prune"),
        (["optimize", "halves.py", "--strategy", "gredy"], 2, "greedy"),
        (["optimize", "halves.py", "--floor", "acuracy=90%"], 2, "accuracy"),
        (["optimize", "halves.py", "--fresh", "--budget", "0.0000000001usd"], 4, "too small for even the control"),
        (["optimize", "halves.py", "--prices", "mars"], 2, "local"),
        (["optimize", "halves.py", "--give-up", "0.1%"], 2, "at least 3100"),
        (["optimize", "halves.py", "--trials", "0"], 2, "--trials"),
        (["data"], 2, "recipe"),
        (["data", "halves.py", "--folds", "1"], 2, "at least 2"),
        (["data", "halves.py", "--folds", "900"], 2, "fewer folds"),
        (["dat"], 2, "data"),
        (["run", "nothing.pw"], 2, "nothing.pw"),
        (["explain", "halves.py"], 2, "halves.py"),
        (["ledger", "--by", "moon"], 2, "phase"),
    ],
)
def test_bad_input_gets_a_sentence_with_the_fix_and_no_traceback(place, words, code, said):
    found, out, err = call(place, *words)
    assert found == code, err
    assert "Traceback" not in err
    assert "To fix:" in err
    assert said in err
    assert not out


def test_a_corrupt_artifact_is_said_and_refused(place, optimized, tmp_path):
    import shutil

    shutil.copytree(place / "winner.pw", tmp_path / "bad.pw")
    model = next(path for path in (tmp_path / "bad.pw").iterdir() if path.name.startswith("model"))
    body = bytearray(model.read_bytes())
    body[len(body) // 2] ^= 1
    model.write_bytes(bytes(body))
    code, _, err = call(place, "run", tmp_path / "bad.pw")
    assert code == 5
    assert "damaged" in err


def test_rows_with_nan_or_of_a_wrong_shape_are_refused(place, optimized):
    (place / "bad.csv").write_text("1,1,1,1,nan,0,0,0\n")
    assert call(place, "run", "winner.pw", "--input", "bad.csv")[0] == 2
    (place / "short.csv").write_text("1,2,3\n")
    code, _, err = call(place, "run", "winner.pw", "--input", "short.csv")
    assert code == 2
    assert "(8,)" in err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_search_that_is_stopped_loses_nothing_it_finished(tmp_path, how):
    (tmp_path / "halves.py").write_text(RECIPE.replace("EPOCHS", "2"))
    words = ["optimize", "halves.py", "--levers", "prune,runtime", "--trials", "4"]
    process = begin(tmp_path, *words)
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "as asked" in line:
            process.send_signal(how)
            break
    process.communicate(timeout=120)
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL), seen
    code, _, err = call(tmp_path, *words)
    assert code == 0, err
    assert "as asked  (from the ledger)" in err


def test_help_is_quick_because_nothing_heavy_is_imported(place):
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom pennyweight.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'onnx', 'onnxruntime', 'openvino', 'optuna', 'numpy', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
