"""Processes that begin warm: each is forked from one that has loaded the libraries, the most of a short command's time.

The project's own modules are not among what is loaded. A test that is about how a process begins, ends or is killed
starts one of its own.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory

LIBRARIES = (
    "numpy",
    "scipy.stats",
    "sklearn.ensemble",
    "sklearn.pipeline",
    "torch",
    "torch.onnx",
    "onnxscript",
    "optuna",
    "typer",
    "rich.progress",
    "sqlalchemy",
    "pyarrow.parquet",
)
# The end of the forked process is that of any interpreter: the program comes back out of the loop and goes on below it.
_PROGRAM = """
import gc, importlib, json, os, sys, types
for name in sys.argv[1:]:
    importlib.import_module(name)
gc.freeze()
asks, tells = os.dup(0), os.dup(1)
os.set_inheritable(asks, False), os.set_inheritable(tells, False)
for line in os.fdopen(asks, closefd=False):
    child = os.fork()
    if not child:
        break
    os.write(tells, b"%d\\n" % child)
    os.write(tells, b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
else:
    os._exit(0)
os.close(asks), os.close(tells)
order = json.loads(line)
os.chdir(order["cwd"])
os.environ.clear()
os.environ.update(order["env"])
for to, path in enumerate([os.devnull, *order["streams"]]):
    opened = os.open(path, os.O_WRONLY if to else os.O_RDONLY)
    os.dup2(opened, to)
    os.close(opened)
sys.argv = ["-c", *order["words"]]
sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
sys.modules["__main__"] = types.ModuleType("__main__")
exec(compile(order["code"], "<string>", "exec"), vars(sys.modules["__main__"]))
"""


def run(code, *words, cwd, env, timeout=240):
    """Run Python code with its words in `cwd`; its exit code, output and errors, as `subprocess.run` has them."""
    with TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("out", "err")]
        for each in streams:
            each.touch()
        order = {"code": code, "words": [str(each) for each in words], "cwd": str(cwd), "env": dict(env)}
        returned = _ended(json.dumps(order | {"streams": [str(each) for each in streams]}), timeout)
        out, err = (each.read_text(errors="replace") for each in streams)
    return subprocess.CompletedProcess(["python", "-c", code, *words], returned, out, err)


def _ended(order, timeout):
    """The exit code of a forked process; one that is waited for no longer is killed."""
    root = _root()
    child = 0
    try:
        root.stdin.write(order.encode() + b"\n")
        child = int(root.stdout.readline())
        assert select([root.stdout], [], [], timeout)[0], f"The process has not ended after {timeout} s."
        return int(root.stdout.readline())
    except BaseException:
        _root.cache_clear()
        if child:
            os.kill(child, signal.SIGKILL)
        root.kill()
        raise


@cache
def _root():
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, *LIBRARIES]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    atexit.register(root.kill)
    return root
