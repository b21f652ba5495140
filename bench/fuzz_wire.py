"""The decoder of questions under atheris: inputs per second, crashes, and the most memory; a crash is kept and told.

`python -m bench.fuzz_wire --seconds 3600`. atheris is put into a folder of the bench's own, beside what is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import orjson

from bench.report import emit

ROOT = Path(__file__).resolve().parents[1]
_ATHERIS = "atheris>=3.0"
_MOST_BYTE = 4096
_MOST_MIB = 512


def main() -> None:
    """Fuzz for as long as asked, and print what came of it."""
    asked = _arguments()
    seconds = 30 if asked.quick else asked.seconds
    with tempfile.TemporaryDirectory() as folder:
        done = fuzzed(Path(folder), _library(Path(asked.cache)), seconds)
        crashes = sorted((Path(folder) / "crashes").iterdir())
        for crash in crashes:
            print(f"{crash.name}: {crash.read_bytes()[:400]!r}")
    figures = {"seconds": seconds, "crashes": len(crashes)} | _figures(done)
    print(f"{figures['inputs']:,.0f} inputs in {seconds} s, {len(crashes)} crashes, {figures['rss_mib']:.0f} MiB")
    emit("fuzz_wire", figures, 1)
    sys.exit(bool(crashes))


def fuzzed(folder: Path, library: Path, seconds: float) -> str:
    """Run the fuzzer on the seeds, and return what it said."""
    corpus, crashes = folder / "corpus", folder / "crashes"
    for each in (corpus, crashes):
        each.mkdir()
    for number, seed in enumerate(seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    options = {
        "max_total_time": int(seconds),
        "max_len": _MOST_BYTE,
        "rss_limit_mb": _MOST_MIB,
        "timeout": 5,
        "print_final_stats": 1,
        "artifact_prefix": f"{crashes}/",
    }
    words = [f"-{name}={value}" for name, value in options.items()]
    path = os.pathsep.join([str(library), str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "bench.fuzz_target", *words, str(corpus)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if "stat::" not in done.stderr and not any(crashes.iterdir()):
        sys.exit(f"the fuzzer did not run:\n{done.stderr[-2000:]}")
    return done.stderr


def seeds() -> list[bytes]:
    """Questions as they should be, in both spellings, from which the fuzzer goes astray."""
    found = []
    for kind, dtype in (("FP32", "<f4"), ("FP64", "<f8"), ("INT8", "i1"), ("BOOL", "?"), ("FP16", "<f2")):
        x = np.ones((2, 3), dtype)
        tensor = {"name": "x", "shape": [2, 3], "datatype": kind, "data": x.ravel().tolist()}
        body = orjson.dumps({"id": "a", "inputs": [tensor], "outputs": [{"name": "y", "parameters": {}}]})
        found.append(len(body).to_bytes(2, "little") + body)
        tensor = {"name": "x", "shape": [2, 3], "datatype": kind, "parameters": {"binary_data_size": x.nbytes}}
        header = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
        found.append(len(header).to_bytes(2, "little") + header + x.tobytes())
    return found


def _figures(said: str) -> dict[str, float]:
    stats = {name: float(value) for name, value in re.findall(r"stat::(\w+):\s+(\d+)", said)}
    covered = re.findall(r"cov: (\d+)", said)
    return {
        "inputs": stats.get("number_of_executed_units", 0),
        "inputs_per_s": stats.get("average_exec_per_sec", 0),
        "rss_mib": stats.get("peak_rss_mb", 0),
        "covered": float(covered[-1]) if covered else 0,
    }


def _library(cache: Path) -> Path:
    """The folder that holds atheris; it is filled the first time."""
    folder = cache / "atheris"
    if not (folder / "ready").exists():
        words = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), _ATHERIS]
        subprocess.run([sys.executable, *words], check=True)
        (folder / "ready").touch()
    return folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz_wire", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long to look")
    parser.add_argument("--quick", action="store_true", help="half a minute")
    parser.add_argument("--cache", default=str(ROOT / ".pennyweight" / "bench"), help="where atheris is kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
