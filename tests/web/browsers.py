"""Where a Chromium is: the system's, or one that npm brings with the libraries it needs."""

import os
import shutil
import subprocess
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PACKAGE = "@sparticuz/chromium@147.0.0"
_FOLDER = Path(__file__).resolve().parents[2] / ".venv" / "browser"
_UNPACK = 'import("@sparticuz/chromium").then((it) => it.default.executablePath())'


def chromium():
    """The path of a Chromium and its environment; raises `LookupError` if there is none and npm cannot bring one."""
    given = os.environ.get("PENNYWEIGHT_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    return (given, dict(os.environ)) if given else brought()


def brought():
    """The one that npm brings, unpacked beside the other things that are installed for tests."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise LookupError("There is no Chromium: install one (Debian's package is called chromium), or npm.")
    if not (_FOLDER / "chromium").exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--silent", "--prefix", _FOLDER, _PACKAGE], check=True)
        # it brings its libraries only where it believes that nothing else would
        environment = {**os.environ, "TMPDIR": str(_FOLDER), "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x"}
        subprocess.run([node, "-e", _UNPACK], cwd=_FOLDER, env=environment, check=True)
    return str(_FOLDER / "chromium"), {**os.environ, "LD_LIBRARY_PATH": str(_FOLDER / "al2023" / "lib")}
