"""A tiny character model trained by nobody, as an artifact that continues texts, and a real server of it."""

import contextlib
import importlib.util
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
def network(layers=2, width=32):
    """Weights so large that what follows is seldom close to a tie."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        model = recipe().CharGPT(recipe().Shape(len(ALPHABET), layers, 2, width, CONTEXT)).eval()
        for weight in model.parameters():
            if weight.dim() == 2:
                torch.nn.init.normal_(weight, std=0.3)
    return model


@cache
def artifact(*, together=True, alphabet=ALPHABET, layers=2, width=32):
    """The network as it is kept, with or without the graph that remembers."""
    model = network(layers, width)
    x = np.random.default_rng(0).integers(0, len(ALPHABET), (4, CONTEXT))
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


def likeliest(prompt, count):
    """What the network itself says follows, the whole text read again for every character."""
    tokens = [ALPHABET.index(each) for each in prompt]
    with torch.inference_mode():
        for _ in range(count):
            tokens.append(int(network()(torch.tensor([tokens]))[0, -1].argmax()))
    return "".join(ALPHABET[each] for each in tokens[len(prompt) :])


def filled(store, place, *, limit_nusd=None, made=None, rate_s=0):
    """A store with the model in production, and two keys of a tenant: a caller's and an admin's."""
    with opened(str(store)) as engine, engine.begin() as link:
        artifacts = ArtifactStore(place / "artifacts")
        version = Version("gpt", 0, artifacts.put(made or artifact()), str(artifacts.root))
        registry.add(link, version)
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


class Slow:
    """The same model, each step some milliseconds later: long enough to hang up, to be late, to be many."""

    def __init__(self, chorus, step_s):
        self._chorus, self._step_s, self.context, self.batches = chorus, step_s, chorus.context, []

    def prefill(self, prompts):
        return self._chorus.prefill(prompts)

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
