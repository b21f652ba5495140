"""The package is written without what turns data into programs: pickle, eval, shells, composed statements."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pennyweight

ROOT = Path(pennyweight.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
CODE = re.compile(r"\b(pickle|cPickle|cloudpickle|dill|joblib|marshal|shelve|jsonpickle)\b")
RUNS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "yaml.load", "yaml.unsafe_load"}
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|PRAGMA|TRUNCATE|GRANT|WITH)\b.*")
# Ray carries the module of a user's own recipe to workers that the user has started for it
CARRIES = {"train/server/fleet.py"}
# names of tables and numbers that the program itself holds: migrations, pragmas, a lock
COMPOSES = {
    "store/database.py": 2,
    "store/team/opened.py": 2,
    "store/team/migrations/versions/0001_everything.py": 2,
}


def found(source, path="x.py"):
    """What is in a program that may not be: (line, what)."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                said = " ".join([each.name for each in names] + [getattr(node, "module", None) or ""])
                if CODE.search(said) and path not in CARRIES:
                    wrong.append((node.lineno, said))
            case ast.Call(func=func, keywords=keywords):
                name = ast.unparse(func)
                plain = any(each.arg == "allow_pickle" and ast.unparse(each.value) == "False" for each in keywords)
                if name in RUNS or any(each.arg == "shell" for each in keywords):
                    wrong.append((node.lineno, name))
                if name in {"np.load", "numpy.load"} and not plain:
                    wrong.append((node.lineno, name))
    return wrong


def composed(source):
    """The lines where a statement is put together from parts."""
    lines = set()
    for node in ast.walk(ast.parse(source)):
        first = None
        match node:
            case ast.JoinedStr(values=[ast.Constant(value=str(first)), *_]):
                pass
            case ast.BinOp(left=ast.Constant(value=str(first)), op=ast.Mod() | ast.Add(), right=right):
                first = None if isinstance(right, ast.Constant) else first
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(first)), attr="format")):
                pass
        if first is not None and SQL.fullmatch(first.split("\n")[0]):
            lines.add(node.lineno)
    return sorted(lines)


def named(path):
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_look_at():
    assert len(FILES) > 200


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "import numpy as np\nnp.load('x')",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "eval('1')",
        "import yaml\nyaml.load('x')",
    ],
)
def test_the_test_finds_what_it_looks_for(source):
    assert found(source)
    assert composed("link.execute(f'SELECT * FROM t WHERE a = {x}')") == [1]
    assert composed("link.execute('DELETE FROM t WHERE a = %s' % x)") == [1]
    assert composed("link.execute('DELETE FROM t WHERE a = {}'.format(x))") == [1]
    assert composed("link.execute('SELECT 1', (x,))") == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_data_is_never_run(path):
    assert found(path.read_text(), named(path)) == []


def test_statements_are_not_put_together_from_what_somebody_sent():
    counts = {named(path): len(composed(path.read_text())) for path in FILES}
    assert {path: count for path, count in counts.items() if count} == COMPOSES


def test_secrets_are_compared_in_constant_time():
    text = (ROOT / "store/team/tenants.py").read_text()
    assert "compare_digest(digest, _digest(" in text
    assert not re.search(r"digest\s*(==|!=)", text)


def test_the_server_imports_no_library_that_unpickles():
    code = "import pennyweight.serve.running, pennyweight.serve.guarding, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded & {"torch", "joblib", "cloudpickle", "dill", "sklearn", "ray", "mlflow", "jinja2", "yaml"} == set()


ASKS = re.compile(r"^(urllib\.request|http\.client|requests|httpx|aiohttp|urllib3|ftplib|smtplib|telnetlib)\b")


def test_the_server_is_written_without_anything_that_asks_elsewhere():
    for path in sorted((ROOT / "serve").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if ASKS.search(name)], named(path)
