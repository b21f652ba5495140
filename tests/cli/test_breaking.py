"""What goes wrong on purpose ends in one sentence that says what and one that says how to fix it; nothing is lost."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from processes import RECIPE, begin, call, start

from pennyweight.store.artifacts import ArtifactStore
from pennyweight.store.ledger import Ledger

SEARCH = ("optimize", "halves.py", "--levers", "prune,runtime", "--trials", "3")
BROKEN = {
    "nojob": "x = 1",
    "syntax": "def job(:",
    "raises": "def job(data=None):\n    raise ValueError('boom')",
    "number": "def job(data=None):\n    return 42",
    "ends": "import sys\nsys.exit(3)",
    "nan_x": RECIPE.replace("    floor =", "    x[3, 2] = np.nan\n    floor ="),
    "nan_y": RECIPE.replace("    floor =", "    y = np.where(y == 0, np.nan, y)\n    floor ="),
    "branch": RECIPE.replace("return nn.Sequential(", "return Branch(").replace(
        "def network", "from torch import nn\nclass Branch(nn.Sequential):\n"
        "    def forward(self, x):\n        return super().forward(x if x.sum() > 0 else -x)\n\ndef network",
    ),
    "negative": RECIPE.replace("torch_job(", "sklearn_job(").replace("torch_job", "sklearn_job").replace(
        "network, split", "RandomForestClassifier(n_estimators=-3), split").replace(
        "import numpy", "from sklearn.ensemble import RandomForestClassifier\nimport numpy"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path):
    (tmp_path / "halves.py").write_text(RECIPE.replace("EPOCHS", "2"))
    for name, body in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(body.replace("EPOCHS", "2"))
    return tmp_path


def said(err, *words):
    """Check that the message is whole, and that nobody saw a trace."""
    assert "Traceback" not in err
    for word in ("pennyweight: ", "To fix: ", *words):
        assert word in err


def sound(place):
    """Check every row and every artifact of a home, and return how many runs it holds."""
    with Ledger(place / "home" / "ledger.db") as ledger:
        ledger.check()
        runs = ledger.runs()
    store = ArtifactStore(place / "home" / "artifacts")
    assert all(store.get(digest).digest == digest for digest in store)
    assert all(run.artifact in store for run in runs)
    return len(runs)


def test_every_broken_recipe_is_said_before_anything_is_spent(place):
    wanted = {
        "nojob": (2, "no function job"),
        "syntax": (2, "syntax.py fails in line 1"),
        "raises": (2, "ValueError: boom"),
        "number": (2, "gives a int"),
        "ends": (2, "ends Python"),
        "nan_x": (2, "NaN"),
        "nan_y": (2, "NaN"),
        "branch": (7, "torch.where"),
        "negative": (2, "n_estimators=-3"),
    }
    started = {name: begin(place, "optimize", f"{name}.py") for name in wanted}
    for name, (code, words) in wanted.items():
        out, err = started[name].communicate(timeout=240)
        said(err, words)
        assert (started[name].returncode, out) == (code, ""), name
    assert not (place / "home").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--predictions", "lots"], "1e8"),
        (["--report", "/dev/null"], "a folder or a device"),
        (["--report", "."], "a folder or a device"),
        (["--picture", "."], "a folder or a device"),
        (["--out", "."], "no artifact"),
        (["halves.py"], "Two of the recipes"),
    ],
)
def test_what_could_not_be_written_in_the_end_is_refused_before_the_search(place, words, told):
    code, out, err = call(place, *SEARCH, *words)
    said(err, told)
    assert (code, out) == (2, "")
    assert not (place / "home" / "ledger.db").exists()
    assert Path("/dev/null").is_char_device()


def test_rows_that_are_none_and_answers_that_cannot_be_kept_are_said(place):
    code, _, err = call(place, "optimize", "halves.py", "--trials", "1")
    assert code == 0, err
    (place / "empty.csv").write_text("")
    (place / "words.csv").write_text("one,two\n")
    code, _, err = call(place, "run", "winner.pw", "--input", "empty.csv")
    said(err, "empty.csv holds nothing")
    assert "Warning" not in err
    assert code == call(place, "run", "winner.pw", "--input", "words.csv")[0] == 2
    code, _, err = call(place, "run", "winner.pw", "--output", "halves.py/y.npy")
    said(err, "check the path")
    assert code == 2
    assert call(place, "run", "winner.pw", "--output", "deep/answers")[0] == 0
    assert (place / "deep" / "answers").stat().st_size > 100
    code, _, err = call(place, "explain", ".")
    said(err, "no artifact at")
    assert code == 2


def test_output_that_nobody_can_take_is_said(place):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        code, _, err = call(place, "levers", stdout=full)
    said(err, "Standard output cannot be written", "free space")
    assert code == 9
    assert "Exception ignored" not in err


def test_a_fault_of_our_own_is_one_message_unless_the_trace_is_asked_for(place):
    fault = "import pennyweight.cli.telling as t\ndef say(*_):\n    raise ValueError('oh')\nt.say_table = say\n"
    (place / "fault.py").write_text(fault + RECIPE.replace("EPOCHS", "2"))
    code, _, err = call(place, "count", "fault.py")
    said(err, "unforeseen", "fault.py, line 3: ValueError: oh", "PENNYWEIGHT_TRACE=1")
    assert code == 1
    code, _, err = call(place, "count", "fault.py", env={"PENNYWEIGHT_TRACE": "1"})
    assert code == 1
    assert "Traceback" in err


def test_an_interrupt_ends_all_searches_and_leaves_the_old_winner(place):
    (place / "second.py").write_text(RECIPE.replace("EPOCHS", "2").replace('"halves"', '"second"'))
    (place / "halves.pw").mkdir()
    process = start(place, "optimize", "halves.py", "second.py", *SEARCH[2:])
    for line in process.stderr:
        if "runtime(" in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "pennyweight: interrupted" in err
    assert "second:" not in out + err
    assert "go on" in out
    assert (place / "report.html").exists()
    assert list((place / "halves.pw").iterdir()) == []
    assert sound(place) == 2


def test_an_interrupt_that_python_cannot_let_out_is_heard_all_the_same():
    program = """
import os, signal, sys, time
from pennyweight.cli import ending
ending.prepare()
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
last = Last()
try:
    del last
    print("it was lost, for the moment")
    time.sleep(20)
except KeyboardInterrupt:
    print("it was heard")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["it was lost, for the moment", "it was heard"]
    assert not done.stderr


def test_two_searches_at_the_same_time_share_a_ledger_and_one_look(place):
    both = [begin(place, *SEARCH, "--json", "--report", f"{n}.html", "--out", f"{n}.pw") for n in range(2)]
    said_by_both = [process.communicate(timeout=280) for process in both]
    assert [process.returncode for process in both] == [0, 0], said_by_both
    sound(place)
    one, other = (json.loads(out)["certificate"] for out, _ in said_by_both)
    assert one["held"] == other["held"] is True
    with Ledger(place / "home" / "ledger.db") as ledger:
        fingerprint = ledger.runs()[0].fingerprint
        looks = ledger.looks(fingerprint)
    assert [look.number for look in looks] == list(range(1, len(looks) + 1))
    tested = [run for look in looks for run in look.runs]
    assert len(tested) == len(set(tested))


def test_a_disk_that_fills_up_ends_the_search_with_a_sentence_and_the_next_goes_on(place):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))"
    code, out, err = call(place, *SEARCH, first=limit)
    said(err, "free space")
    assert (code, out) == (9, "")
    sound(place)
    code, _, err = call(place, *SEARCH)
    assert code == 0, err
    assert sound(place) == 3


@pytest.mark.slow
@pytest.mark.parametrize("size", ["200k", "400k"])
def test_a_home_on_a_small_disk_is_a_sentence_and_loses_nothing(place, size):
    (place / "home").mkdir()
    unshare = shutil.which("unshare")
    mount, keep = f'mount -t tmpfs -o size={size} tmpfs "{place}/home"', f'cp -r "{place}/home" "{place}/kept"'
    inside = f'{mount} && "$@"; code=$?; {keep}; exit $code'
    before = [unshare or "", "--user", "--map-root-user", "--mount", "sh", "-c", inside, "sh"]
    if not unshare or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    shutil.rmtree(place / "kept")
    code, out, err = call(place, *SEARCH, before=before)
    said(err, "free space")
    assert (code, out) == (9, "")
    shutil.rmtree(place / "home")
    (place / "kept").rename(place / "home")
    runs = sound(place)
    code, _, err = call(place, *SEARCH)
    assert code == 0
    assert err.count("(from the ledger)") == runs
    assert sound(place) == 3


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_search_stopped_again_and_again_still_arrives(place, how):
    runs = 0
    for wait_s in (0.4, 1.0, 1.8, 2.6, 3.6, 5.0):
        process = begin(place, *SEARCH)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=wait_s)
        process.send_signal(how)
        _, err = process.communicate(timeout=240)
        assert "Traceback" not in err
        assert process.returncode in {0, 130, -how}, err
        if (place / "home" / "ledger.db").exists():
            found = sound(place)
            assert found >= runs
            runs = found
    code, _, err = call(place, *SEARCH)
    assert code == 0, err
    assert sound(place) == 3
