"""Peers that serve: each in an environment of its own under the bench's cache, started as its manual says."""

from __future__ import annotations

import os
import subprocess
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from bench.serve_load import http
from bench.serve_network import WIDTHS, graph, rows
from bench.serve_processes import ROOT, Command, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEEDS = {
    "litserve": ("litserve>=0.2", "onnxruntime", "numpy"),
    "bentoml": ("bentoml>=1.4", "onnxruntime", "numpy"),
    "litellm": ("litellm[proxy]>=1.60",),
}
_LITELLM = """
model_list:
  - model_name: network
    litellm_params: {model: openai/network, api_key: none, mock_response: "seven"}
    model_info: {input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
general_settings: {master_key: sk-bench}
"""


@dataclass(frozen=True)
class Place:
    """Where the peers' environments are, and where this run keeps its files."""

    cache: Path
    folder: Path


def commands(peer: str, place: Place) -> dict[str, Command]:
    """The ways in which one peer is raced, by name; its environment is made first if there is none."""
    binary = environment(peer, place.cache) / "bin"
    return _MAKERS[peer](binary, place.folder)


def environment(peer: str, cache: Path) -> Path:
    """The environment of a peer; making it downloads its packages."""
    folder = cache / peer
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *NEEDS[peer]], check=True)
        (folder / "ready").touch()
    return folder


def _litserve(binary: Path, folder: Path) -> dict[str, Command]:
    model = _model(folder)
    found = {}
    for name, batch in (("litserve", 1), ("litserve, batched", 16)):
        port = free_port()
        words = (str(binary / "python"), str(ROOT / "bench" / "serve_litserve.py"), str(model), str(port), str(batch))
        question = http("/predict", _row("input", nested=False), port, Content_Type="application/json")
        found[name] = Command(words, port, question, {}, folder / "litserve.log")
    return found


def _bentoml(binary: Path, folder: Path) -> dict[str, Command]:
    model = _model(folder)
    found = {}
    for name, batch in (("bentoml", ""), ("bentoml, batched", "1")):
        port = free_port()
        place = ("--working-dir", str(ROOT / "bench"), "--host", "127.0.0.1", "--port", str(port))
        words = (str(binary / "python"), "-m", "bentoml", "serve", "serve_bentoml:Network", *place)
        env = {
            "BENCH_MODEL": str(model),
            "BENCH_BATCH": batch,
            "BENTOML_HOME": str(folder / "bento"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        question = http("/predict", _row("x", nested=True), port, Content_Type="application/json")
        found[name] = Command(words, port, question, env, folder / "bentoml.log")
    return found


def _litellm(binary: Path, folder: Path) -> dict[str, Command]:
    """Its proxy with a key and prices, and a reply that is made up: metering alone, in memory, without its database."""
    settings, port = folder / "litellm.yaml", free_port()
    settings.write_text(_LITELLM, encoding="utf-8")
    words = (str(binary / "litellm"), "--config", str(settings), "--host", "127.0.0.1", "--port", str(port))
    env = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "PATH": f"{binary}{os.pathsep}{os.environ['PATH']}",
    }
    body = orjson.dumps({"model": "network", "messages": [{"role": "user", "content": "Which digit is it?"}]})
    key = {"Authorization": "Bearer sk-bench", "Content_Type": "application/json"}
    question = http("/chat/completions", body, port, **key)
    return {"litellm": Command(words, port, question, env, folder / "litellm.log")}


_MAKERS: dict[str, Callable[[Path, Path], dict[str, Command]]] = {
    "litserve": _litserve,
    "bentoml": _bentoml,
    "litellm": _litellm,
}


def _model(folder: Path) -> Path:
    found = folder / "network.onnx"
    found.write_bytes(graph())
    return found


def _row(name: str, *, nested: bool) -> bytes:
    """The row that everybody is asked, in the peer's own form."""
    data = [round(float(value), 4) for value in rows().reshape(WIDTHS[0])]
    return orjson.dumps({name: [data] if nested else data})
