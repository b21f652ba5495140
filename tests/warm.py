"""Processes that begin warm: each is forked from one that has loaded the libraries, the most of a short command's time.

The project's own modules are not among what is loaded. A process that ends waits for its threads, does what is to be
done at the end, and lets go of all that is its own, as any interpreter does; only the libraries stay as they are, for
taking them apart costs more than most commands. A test that is about how a process begins, ends or is killed starts one
of its own.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory

_CODES: dict[int, int] = {}  # of processes that have ended and were not asked for yet
LIBRARIES = (
    "alembic.command",
    "alembic.runtime.migration",
    "cProfile",
    "filelock",
    "jinja2",
    "networkx",
    "numpy",
    "onnxruntime",
    "onnxscript.function_libs.torch_lib.ops",
    "onnxscript.rewriter.onnx_fusions",
    "optuna",
    "platformdirs",
    "psycopg",
    "pyarrow.parquet",
    "pydantic.type_adapter",
    "rich.progress",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.ensemble",
    "sklearn.pipeline",
    "sqlalchemy.dialects.sqlite",
    "sympy.tensor.tensor",
    "tomllib",
    "torch._dynamo",
    "torch._inductor.output_code",
    "torch.export._trace",
    "torch.onnx._internal.exporter._compat",
    "torch.onnx._internal.exporter._torchlib.ops",
    "torch_pruning",
    "typer._adapters",
    "typer.rich_utils",
)
# What comes after the loop is the forked process; it ends below as an interpreter does.
_PROGRAM = """
import atexit, gc, importlib, json, logging, os, select, signal, sys, threading, types
for name in sys.argv[2:]:
    importlib.import_module(name)
sys.path.insert(0, sys.argv[1])
import onnx_table
del sys.path[0]
onnx_table.read_once()
logging.disable()
sys.modules["torch.onnx._internal.exporter._registration"].ONNXRegistry.from_torchlib(opset_version=18)
logging.disable(logging.NOTSET)
gc.collect()
gc.freeze()
asks, tells = os.dup(0), os.dup(1)
os.set_inheritable(asks, False), os.set_inheritable(tells, False)
wakes = os.pipe()
os.set_blocking(wakes[1], False)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.set_wakeup_fd(wakes[1])
orders, running, child = os.fdopen(asks, "rb", closefd=False), set(), None
while child != 0:
    ready = select.select([asks, wakes[0]], [], [])[0]
    if wakes[0] in ready:
        os.read(wakes[0], 4096)
        for each in tuple(running):
            ended, status = os.waitpid(each, os.WNOHANG)
            if ended:
                running.remove(each)
                os.write(tells, b"ended %d %d\\n" % (each, os.waitstatus_to_exitcode(status)))
    if asks in ready:
        line = orders.readline()
        if not line:
            os._exit(0)
        child = os.fork()
        if child:
            running.add(child)
            os.write(tells, b"begun %d\\n" % child)
signal.set_wakeup_fd(-1)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
os.close(asks), os.close(tells), os.close(wakes[0]), os.close(wakes[1])
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
code = 0
try:
    exec(compile(order["code"], "<string>", "exec"), vars(sys.modules["__main__"]))
except SystemExit as end:
    code = end.code
except BaseException:
    code = 1
    sys.excepthook(*sys.exc_info())
if code is not None and not isinstance(code, int):
    print(code, file=sys.stderr)
    code = 1
threading._shutdown()
atexit._run_exitfuncs()
for name in [*sys.modules]:
    if name.partition(".")[0] in {"__main__", "pennyweight"}:
        vars(sys.modules.pop(name)).clear()
gc.collect()
for stream in (sys.stdout, sys.stderr):
    try:
        stream.flush()
    except OSError:
        code = 120
os._exit(code or 0)
"""


def run(code, *words, cwd, env, timeout=240):
    """Run Python code with its words in `cwd`; its exit code, output and errors, as `subprocess.run` has them."""
    with TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("out", "err")]
        for each in streams:
            each.touch()
        child = _begun(code, words, cwd, env, streams)
        returned = _ended(child, timeout)
        out, err = (each.read_text(errors="replace") for each in streams)
    return subprocess.CompletedProcess(["python", "-c", code, *words], returned, out, err)


class Begun:
    """A process that runs code with its words in `cwd`: what a test asks of a `subprocess.Popen` with text pipes."""

    def __init__(self, code, *words, cwd, env):
        self.returncode = None
        with TemporaryDirectory() as folder:
            streams = [Path(folder, name) for name in ("out", "err")]
            for each in streams:
                os.mkfifo(each)
            self.pid = _begun(code, words, cwd, env, streams)
            self.stdout, self.stderr = (each.open(errors="replace") for each in streams)

    def poll(self):
        """Its exit code, None while it runs."""
        if self.returncode is None:
            self.returncode = _listen(self.pid, 0)
        return self.returncode

    def wait(self, timeout=None):
        """Its exit code, when it has ended; raises `subprocess.TimeoutExpired` if it has not in time."""
        if self.returncode is None:
            self.returncode = _listen(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(["python"], timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """Its output and errors, when it has ended; one that is waited for no longer is killed."""
        with ThreadPoolExecutor(2) as pool:
            said = [pool.submit(each.read) for each in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except BaseException:
                self.kill()
                raise
        self.stdout.close(), self.stderr.close()
        return tuple(each.result() for each in said)

    def send_signal(self, number):
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def _begun(code, words, cwd, env, streams):
    """The number of a process that has just been forked."""
    root = _root()
    order = {"code": code, "words": [str(each) for each in words], "cwd": str(cwd), "env": dict(env)}
    root.stdin.write(json.dumps(order | {"streams": [str(each) for each in streams]}).encode() + b"\n")
    while (child := _told()) is None:
        pass
    return child


def _told():
    """Take what is said next: a process that began is given back, how one ended is kept."""
    what, child, *code = _root().stdout.readline().split()
    if what == b"begun":
        return int(child)
    _CODES[int(child)] = int(*code)
    return None


def _listen(child, timeout):
    """The exit code of a process, None if it has not ended in time."""
    end_s = None if timeout is None else time.monotonic() + timeout
    while child not in _CODES:
        if not select([_root().stdout], [], [], end_s and max(0.0, end_s - time.monotonic()))[0]:
            return None
        _told()
    return _CODES.pop(child)


def _ended(child, timeout):
    """The exit code of a process; one that is waited for no longer is killed."""
    code = None
    try:
        code = _listen(child, timeout)
        assert code is not None, f"The process has not ended after {timeout} s."
    finally:
        if code is None:
            os.kill(child, signal.SIGKILL)
    return code


@cache
def _root():
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(Path(__file__).parent), *LIBRARIES]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    atexit.register(_end, root)
    return root


def _end(root):
    root.kill()
    root.communicate()
