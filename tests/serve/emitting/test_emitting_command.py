"""`serve --emit` by the command a person types: it measures what it deploys, writes files, and starts nothing."""

import re
import runpy
import sys

import pytest
import yaml
from multiples import filled
from processes import call, start


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    filled(folder / "home" / "team.db", folder / 'a "store"', 2)
    return folder


def test_a_deployment_is_written_and_says_what_a_request_costs(place):
    # A process of its own: it measures the memory that it has itself.
    process = start(place, "serve", "times", "--emit", "kubernetes", "--slo-ms", "20", "--replicas", "3..30")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "requests/s within 20 ms, at $" in out
    folder = place / "pennyweight-times-kubernetes"
    assert {path.name for path in folder.iterdir()} == {
        "pennyweight-times.yaml",
        "pennyweight-times-autoscale.yaml",
        "Dockerfile",
    }
    objects = {each["kind"]: each for each in yaml.safe_load_all((folder / "pennyweight-times.yaml").read_text())}
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    asked_mib = int(container["resources"]["requests"]["memory"].removesuffix("Mi"))
    assert 50 < asked_mib < 400, "a process with a small model was measured"
    assert {each["mountPath"] for each in container["volumeMounts"]} >= {str(place / 'a "store"' / "artifacts")}
    (scaled,) = [
        each
        for each in yaml.safe_load_all((folder / "pennyweight-times-autoscale.yaml").read_text())
        if each["kind"] == "ScaledObject"
    ]
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (3, 30)
    code, _, err = call(place, "serve", "times", "--emit", "kubernetes")
    assert (code, "would be overwritten" in err) == (2, True)
    code, _, err = call(place, "serve", "times", "--emit", "kubernetes", "--force")
    assert code == 0, err


def test_a_slower_device_answers_fewer_at_the_price_of_its_own_sheet(place):
    from pennyweight.catalog.devices import load_device

    prices = "core_hour_usd = 1.0\ngb_hour_usd = 0.0\ndisk_gb_month_usd = 0.0\nkwh_usd = 0.0\n"
    (place / "mine.toml").write_text(f'{prices}date = "2026-11"\nsource = "x"\n')
    found = {}
    for device in ("amd-zen5", "arm-neoverse-n1"):
        words = ("--emit", "ray", "--slo-ms", "20", "--device", device, "--prices", "mine.toml", "-o", device)
        code, _, err = call(place, "serve", "times", *words)
        assert code == 0, err
        (path,) = (place / device).iterdir()
        assert f"on {device}" in path.read_text()
        assert re.search(r"\$1(\.0*)? per hour \(price sheet mine.toml of 2026-11\)", path.read_text())
        found[device] = float(path.read_text().partition("up to rate = ")[2].split()[0])
    slower = load_device("amd-zen5").rate("float32") / load_device("arm-neoverse-n1").rate("float32")
    assert found["amd-zen5"] / found["arm-neoverse-n1"] == pytest.approx(slower, rel=0.3)


@pytest.mark.usefixtures("ray_serve")
def test_what_ray_would_run_serves_this_store(place):
    code, _, err = call(place, "serve", "times@2", "--emit", "ray", "--name", "ray.local", "-o", "ray")
    assert code == 0, err
    (path,) = (place / "ray").iterdir()
    facts = runpy.run_path(str(path))
    assert facts["server"]().place.models == ("times@2",)
    assert facts["server"]().place.hosts == ("ray.local",)
    assert "ray.serve" in sys.modules


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--emit", "kubernets"), "no target named 'kubernets'"),
        (("--emit", "compose", "--slo-ms", "0.1"), "one request alone takes"),
        (("--emit", "compose", "--replicas", "many"), "says no number of replicas"),
        (("--emit", "compose", "--device", "abacus"), "no device named 'abacus'"),
        (("--emit", "compose", "--prices", "free"), "no price sheet named 'free'"),
    ],
)
def test_what_cannot_be_deployed_is_said_in_a_sentence(place, words, said):
    code, _, err = call(place, "serve", "times", *words, "-o", "nothing")
    assert code == 2
    assert said in err
    assert "To fix:" in err
    assert not (place / "nothing").exists()
