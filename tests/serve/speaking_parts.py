"""A tiny character model trained by nobody, as an artifact that continues texts, and a real server of it."""

import contextlib
import copy
import importlib.util
import re
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from sqlalchemy import text as sql

from pennyweight.backends.torch_cached import to_cached_onnx
from pennyweight.backends.torch_onnx import to_onnx
from pennyweight.core import Artifact
from pennyweight.engine.answers import open_session, with_probes
from pennyweight.serve.place import Place
from pennyweight.serve.running import parts
from pennyweight.store.artifacts import ArtifactStore
from pennyweight.store.team import registry
from pennyweight.store.team.budgets import Budget, put
from pennyweight.store.team.opened import opened, reading
from pennyweight.store.team.registry import Move, Version
from pennyweight.store.team.tenants import Tenant, add_key, add_tenant
from pennyweight.store.team.usage import Price, set_price

ALPHABET = "\n abcdefgh.é"
CONTEXT = 64
RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "char_gpt.py"
PRICE = Price("gpt", in_nusd=10, out_nusd=100)


@cache
def recipe():
    spec = importlib.util.spec_from_file_location("recipe_of_speaking", RECIPE)
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@cache
def network(layers=2, width=32, seed=3):
    """Weights so large that what follows is seldom close to a tie."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = recipe().CharGPT(recipe().Shape(len(ALPHABET), layers, 2, width, CONTEXT)).eval()
        for weight in model.parameters():
            if weight.dim() == 2:
                torch.nn.init.normal_(weight, std=0.3)
    return model


@cache
def artifact(*, together=True, alphabet=ALPHABET, layers=2, width=32, seed=3, mad=False):
    """The network as it is kept, with or without the graph that remembers; if `mad`, it goes mad at an "é"."""
    model = network(layers, width, seed)
    if mad:
        model = copy.deepcopy(model)
        model.tokens.weight.data[-1] = torch.nan
    x = np.random.default_rng(0).integers(0, len(ALPHABET) - mad, (4, CONTEXT))
    files = [("model.onnx", to_onnx(model, x[:2]))]
    files += [("ragged.onnx", to_cached_onnx(model, ragged=True))] if together else []
    serve = {"runtime": "onnxruntime", "batch": 1, "threads": 1, "precision": "float32"}
    meta = {
        "alphabet": alphabet,
        "classes": len(ALPHABET),
        "input_dtype": "int64",
        "input_shape": [CONTEXT],
        "outputs": "logits",
        "serve": serve,
        "task": "language",
    }
    made = Artifact("onnx", tuple(files), tuple(sorted(meta.items())))
    return with_probes(made, open_session(made), x)


@cache
def likeliest(prompt, count, seed=3):
    """What the network itself says follows, the whole text read again for every character."""
    tokens = [ALPHABET.index(each) for each in prompt]
    with torch.inference_mode():
        for _ in range(count):
            tokens.append(int(network(seed=seed)(torch.tensor([tokens]))[0, -1].argmax()))
    return "".join(ALPHABET[each] for each in tokens[len(prompt) :])


def filled(store, place, *, limit_nusd=None, made=None, rate_s=0, version=None):
    """A store with the model in production, and two keys of a tenant: a caller's and an admin's."""
    with opened(str(store)) as engine, engine.begin() as link:
        artifacts = ArtifactStore(place / "artifacts")
        registry.add(link, version or Version("gpt", 0, artifacts.put(made or artifact()), str(artifacts.root)))
        registry.promote(link, "gpt@1", "production", Move("ann"))
        set_price(link, PRICE)
        add_tenant(link, Tenant("acme", "group", rate_s=rate_s))
        if limit_nusd is not None:
            put(link, Budget("tenant", "acme", "day", limit_nusd))
        return add_key(link, "acme"), add_key(link, "acme", "admin")


@contextlib.contextmanager
def speaking(store, place, **more):
    """A real server in a thread of its own, with its address and the tenant's key."""
    import asyncio

    from pennyweight.serve.guarding import server

    key, admin = filled(store, place, **more)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    here = SimpleNamespace(key=key, admin=admin, address=f"http://127.0.0.1:{port}", store=str(store))
    ready = threading.Event()

    async def run():
        with opened(str(store)) as engine:
            async with parts(engine, Place(("gpt",), port=port)) as here.face:
                here.server = server(here.face.app(), drain_s=2)
                here.loop = asyncio.get_running_loop()
                ready.set()
                await here.server.serve([listener])

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(60)
    try:
        yield here
    finally:
        here.server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


def added(store, place, made):
    """Add another version of the model; its number."""
    with opened(str(store)) as engine, engine.begin() as link:
        artifacts = ArtifactStore(place / "artifacts")
        return registry.add(link, Version("gpt", 0, artifacts.put(made), str(artifacts.root))).number


@contextlib.contextmanager
def process(place, *words, **more):
    """The same in a process of its own, started as a person does; it must end well."""
    from processes import start

    store = place / "team.db"
    key, admin = filled(store, place, **more)
    running = start(place, "serve", "gpt", "--port", "0", "--store", store, *words)
    said = running.stdout.readline()
    found = re.fullmatch(r"gpt@\d+ at (http://127\.0\.0\.1:\d+)(?: \(\d+ processes\))?\n", said)
    assert found, (said, *running.communicate(timeout=60))
    here = SimpleNamespace(address=found[1], key=key, admin=admin, store=str(store), process=running)
    try:
        yield here
    finally:
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, ""), out


class Slow:
    """The same model, each step some milliseconds later: long enough to hang up, to be late, to be many."""

    def __init__(self, chorus, step_s):
        self._chorus, self._step_s, self.context, self.batches = chorus, step_s, chorus.context, []
        self.room, self.bites, self.pads, self.reads = chorus.room, chorus.bites, chorus.pads, []

    def prefill(self, prompts):
        self.reads.append(sum(map(len, prompts)))
        return self._chorus.prefill(prompts)

    def read(self, tokens, memory):
        self.reads.append(tokens.size)
        return self._chorus.read(tokens, memory)

    def step(self, tokens, memory):
        time.sleep(self._step_s)
        self.batches.append(len(tokens))
        return self._chorus.step(tokens, memory)

    def gather(self, parts):
        return self._chorus.gather(parts)


def slowed(here, step_s):
    """Let the model of a server take its time, in the thread that is there for that."""
    choir = here.face.shelf.get("gpt").choir
    choir.chorus = Slow(choir.chorus, step_s)
    choir.limits = replace(choir.limits, inline_s=0.0)
    return choir


def rows(store):
    """The rows of usage by the name of the request: (in, out, status, cost)."""
    with opened(str(store)) as engine, reading(engine) as link:
        found = link.execute(sql("SELECT request, in_units, out_units, status, cost_nusd FROM usage")).all()
    return {row[0]: tuple(row[1:]) for row in found}
