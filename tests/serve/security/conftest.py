"""A real server in a process of its own, with the product's own settings, keys for two tenants and for an admin."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

sys.path.append(str(Path(__file__).parents[1]))  # what the tests of serving share

from multiples import asked, filled

from pennyweight.store.team.opened import opened
from pennyweight.store.team.tenants import Tenant, add_key, add_tenant


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Where it listens, its keys, its process, and its store."""
    folder = tmp_path_factory.mktemp("house")
    store = folder / "team.db"
    filled(store, folder)
    with opened(str(store)) as engine, engine.begin() as link:
        for name in ("acme", "beta"):
            add_tenant(link, Tenant(name, name))
        keys = {"acme": add_key(link, "acme"), "beta": add_key(link, "beta"), "admin": add_key(link, "acme", "admin")}
    words = [sys.executable, "-c", "from pennyweight.cli import main; main()", "serve", "times", "--port", "0"]
    environment = {**os.environ, "PENNYWEIGHT_HOME": str(folder), "PENNYWEIGHT_STORE": str(store)}
    environment |= {"OMP_NUM_THREADS": "1", "SECRET_OF_THE_HOUSE": "swordfish"}
    with (folder / "told").open("w") as told:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=told, text=True)
    said = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
    assert found, (folder / "told").read_text()
    here = SimpleNamespace(port=int(found[1]), keys=keys, store=str(store), folder=folder, process=process)
    here.address, here.rss = f"http://127.0.0.1:{here.port}", psutil.Process(process.pid).memory_info
    here.bearer = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}
    here.question = asked()
    yield here
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()
    assert "Traceback" not in (folder / "told").read_text()
