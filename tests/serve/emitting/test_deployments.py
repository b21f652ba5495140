"""Deployments say what the server really has: paths, metrics, words; and no name can break out of a file."""

import ast
import asyncio
import json
import math
import re
import runpy
import shutil
import subprocess

import pytest
import yaml
from deployed import HOSTILE, deployment, hostile, text
from prometheus_client.parser import text_string_to_metric_families
from serving import question, server
from typer.main import get_command

from pennyweight.cli.app import app
from pennyweight.cli.serving import watching
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.serve import crew, running
from pennyweight.serve.counters import BOUNDS_S
from pennyweight.serve.emitting.deployment import Size, replicas
from pennyweight.serve.emitting.file import File, comment, write
from pennyweight.serve.emitting.kubernetes import GRACE_S, SETTLE_S
from pennyweight.serve.emitting.targets import TARGETS, emit
from pennyweight.serve.metrics import Scraped
from pennyweight.serve.place import Watch

LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def by_kind(files):
    """Every object of all manifests by its kind."""
    found = [each for file in files if file.name.endswith(".yaml") for each in yaml.safe_load_all(file.text) if each]
    assert len({each["kind"] for each in found}) == len(found)
    return {each["kind"]: each for each in found}


@pytest.fixture(scope="module")
def objects():
    return by_kind(emit("kubernetes", deployment()))


@pytest.fixture(scope="module")
def container(objects):
    (found,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


def test_probes_ask_what_the_application_answers(container, tmp_path):
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]

    async def ask():
        async with server(str(tmp_path / "team.db")) as on:
            on.client.headers.clear()
            on.client.headers["host"] = "10.1.2.3:8000"  # a kubelet has no key, and asks by the pod's address
            return {(await on.client.get(probe["path"])).status_code for probe in probes}

    assert asyncio.run(ask()) == {200}
    assert {probe["path"] for probe in probes} == {"/v2/health/ready", "/v2/health/live"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {probe["port"] for probe in probes} == {"http"} == set(ports)
    assert f"--port={ports['http']}" in container["args"]


def test_the_service_and_the_others_choose_the_pods_of_the_deployment(objects):
    spec = objects["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"] == labels == spec["selector"]["matchLabels"]
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert objects["PodMonitor"]["spec"]["selector"]["matchLabels"] == labels
    assert objects["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    assert objects["Service"]["spec"]["ports"] == [{"name": "http", "port": 8000, "targetPort": "http"}]


def test_a_pod_may_do_nothing_that_it_need_not(objects, container):
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["automountServiceAccountToken"] is False
    own = container["securityContext"]
    assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False)
    assert own["capabilities"] == {"drop": ["ALL"]}
    volumes = {each["name"] for each in pod["volumes"]}
    assert {each["name"] for each in container["volumeMounts"]} == volumes
    claims = [each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each]
    assert claims == [objects["PersistentVolumeClaim"]["metadata"]["name"]]


def test_the_address_of_the_store_is_in_a_secret_only():
    files = emit("kubernetes", deployment(store="postgresql://ann@db/prod"))
    assert not any("ann@db" in each.text for each in files)
    env = {
        each["name"]: each["valueFrom"]
        for each in by_kind(files)["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert set(env["PENNYWEIGHT_STORE"]) == {"secretKeyRef"}


def test_a_pod_has_time_to_finish_what_it_has_begun(objects, container):
    assert objects["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == GRACE_S
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(SETTLE_S)]
    assert SETTLE_S + max(crew._DRAIN_S, running._DRAIN_S) < GRACE_S


def test_memory_is_what_was_measured_and_that_of_a_second_version(container):
    asked, most = (int(container["resources"][name]["memory"].removesuffix("Mi")) for name in ("requests", "limits"))
    assert 100 <= asked < 100 + 16
    assert most >= 1.25 * (100 + 20) + 64
    assert "cpu" not in container["resources"]["limits"]


def test_replicas_are_arrivals_by_the_rate_that_is_in_time(objects):
    of, spec = deployment(), objects["ScaledObject"]["spec"]
    arrivals, late = spec["triggers"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 12)
    assert arrivals["metricType"] == "AverageValue", "Kubernetes divides the sum by it"
    assert float(arrivals["metadata"]["threshold"]) == pytest.approx(of.capacity.rate_s, rel=1e-3)
    assert float(late["metadata"]["threshold"]) == of.capacity.slo_s
    told = text(emit("kubernetes", of), "-autoscale.yaml")
    assert "replicas = arrivals / rate" in told
    assert "cost per request = usd_hour / (3600 * rate)" in told
    assert of.request_usd == pytest.approx(of.usd_hour / 3600 / of.rate_s)


def test_the_metrics_that_it_scales_by_are_those_of_the_server(objects, tmp_path):
    async def ask():
        async with server(str(tmp_path / "team.db")) as on:
            reply = await on.client.post("/v2/models/digits/infer", json=question([[1, 2, 3, 4]]))
            assert reply.status_code == 200
            return (await Scraped(on.shelf, on.teller).text()).decode()

    told = asyncio.run(ask())
    samples = {each.name: each.labels for family in text_string_to_metric_families(told) for each in family.samples}
    queries = [each["metadata"]["query"] for each in objects["ScaledObject"]["spec"]["triggers"]]
    for query in queries:
        (name,) = re.findall(r"pennyweight_\w+", query)
        assert name in samples, name
    assert "model" in samples["pennyweight_requests_total"]
    (pattern,) = re.findall(r'model=~"([^"]*)"', queries[0])
    assert re.fullmatch(pattern, "digits")
    assert re.fullmatch(pattern, "words.v2")
    assert not re.fullmatch(pattern, "words-v2")
    assert max(BOUNDS_S) >= 0.05, "or no quantile could tell that replies are late"


def test_replicas_of_several_processes_are_asked_more():
    one, four = deployment(), deployment(size=Size(2, 12, workers=4))
    assert four.rate_s == pytest.approx(4 * one.rate_s)
    (container,) = by_kind(emit("kubernetes", four))["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"] == 4
    assert container["args"][3:5] == ["--workers", "4"]


def test_words_are_those_that_the_command_takes(container):
    words = container["args"]
    context = get_command(app).commands[words[0]].make_context("serve", list(words[1:]))
    assert context.params["models"] == ["digits", "words.v2@staging"]
    assert (context.params["host"], context.params["port"]) == ("0.0.0.0", 8000)  # ruff: ignore[hardcoded-bind-all-interfaces] - a pod is reached from outside
    assert "$(POD_IP)" in context.params["name"]


def test_what_serve_was_told_is_told_to_what_is_deployed():
    watch = Watch(on=False, every_s=60.0, keep=0.25)
    of = deployment(watch=watch, api="openai", otel=True, uncertified=True)
    (container,) = by_kind(emit("kubernetes", of))["Deployment"]["spec"]["template"]["spec"]["containers"]
    context = get_command(app).commands["serve"].make_context("serve", list(container["args"][1:]))
    assert (context.params["api"], context.params["otel"], context.params["uncertified"]) == ("openai", True, True)
    assert watching(context.params["watch_every"], context.params["keep_answers"], on=context.params["watch"]) == watch


@pytest.mark.usefixtures("ray_serve")
def test_what_serve_was_told_is_told_to_ray(tmp_path):
    watch = Watch(on=False, every_s=60.0, keep=0.25)
    of = deployment(watch=watch, api="openai", otel=True, uncertified=True)
    (path,) = write(emit("ray", of), tmp_path)
    place = runpy.run_path(str(path))["server"]().place
    assert (place.watch, place.api, place.otel, place.uncertified) == (watch, "openai", True, True)


def test_compose_starts_the_server_after_its_database():
    files = emit("compose", deployment(store="postgresql://ann@db/prod"))
    services = yaml.safe_load(text(files, "compose.yaml"))["services"]
    assert services["server"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["server"]["healthcheck"]["test"][:2] == ["CMD", "python"]
    assert "/v2/health/ready" in services["server"]["healthcheck"]["test"][-1]
    compile(services["server"]["healthcheck"]["test"][-1], "healthcheck", "exec")
    assert services["server"]["read_only"] is True
    assert all(port.startswith("127.0.0.1:") for each in services.values() for port in each["ports"])
    assert services["server"]["volumes"][1]["target"] == "/srv/models"
    assert "--host=0.0.0.0" in services["server"]["command"]


@pytest.mark.parametrize("target", ["kubernetes", "compose"])
def test_the_image_runs_as_nobody_and_hears_signals(target):
    lines = text(emit(target, deployment()), "Dockerfile").splitlines()
    assert any(re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", line) for line in lines)
    (start,) = [line.removeprefix("ENTRYPOINT ") for line in lines if line.startswith("ENTRYPOINT")]
    assert json.loads(start) == ["pennyweight"]
    assert any("[serve,onnx]==" in line for line in lines)


def test_systemd_takes_the_unit(tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("there is no systemd-analyze")
    for of in (deployment(), deployment(models=("digits%n",), hosts=("a$b%c d",))):
        write(emit("systemd", of), tmp_path, force=True)
        unit = next(tmp_path.glob("*.service"))
        done = subprocess.run([tool, "verify", str(unit)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        unit.unlink()


def test_systemd_lets_it_write_its_own_files_only():
    unit = text(emit("systemd", deployment(store="/srv/team/team.db")), ".service")
    assert "ProtectSystem=strict" in unit
    assert "NoNewPrivileges=yes" in unit
    assert 'ReadWritePaths="-/srv/team"' in unit
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert line.endswith('"serve" "digits" "words.v2@staging" "--host=127.0.0.1" "--port=8000"')
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop_s) > crew._DRAIN_S


def test_a_file_that_may_hold_a_password_is_its_owners(tmp_path):
    for path in write(emit("systemd", deployment()), tmp_path):
        assert path.stat().st_mode & 0o777 == (0o600 if path.suffix == ".env" else 0o644)


@pytest.mark.parametrize("target", ["kubernetes", "compose"])
def test_no_name_breaks_out_of_yaml(target):
    for file in emit(target, hostile()):
        assert "\n- evil" not in file.text
        assert "\n- evil" not in file.text.replace("  ", "")
    if target == "compose":
        server = yaml.safe_load(text(emit(target, hostile()), "compose.yaml"))["services"]["server"]
        assert server["command"][:4] == ["serve", HOSTILE.replace("$", "$$"), "--name", HOSTILE.replace("$", "$$")]
        assert server["volumes"][1]["source"] == f"/srv/{HOSTILE}".replace("$", "$$")
        return
    objects = by_kind(emit(target, hostile()))
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][:4] == ["serve", HOSTILE.replace("$(", "$$("), "--name", HOSTILE.replace("$(", "$$(")]
    assert container["volumeMounts"][2]["mountPath"] == f"/srv/{HOSTILE}"
    assert all(LABEL.fullmatch(each["metadata"]["name"]) for each in objects.values())
    query = objects["ScaledObject"]["spec"]["triggers"][0]["metadata"]["query"]
    assert query.count('"') == 2, "no name ends a text in a query"


def test_no_name_breaks_out_of_a_unit(tmp_path):
    bad = deployment(models=('a"b ${HOME} %h \\',))
    unit = text(emit("systemd", bad), ".service")
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert '"a\\"b $${HOME} %%h \\\\"' in line
    newline = text(emit("systemd", hostile()), ".service")
    assert re.findall(r"^(\[\w+\])$", newline, re.MULTILINE) == ["[Unit]", "[Service]", "[Install]"]
    assert not re.search(r"^- evil", newline, re.MULTILINE)
    with pytest.raises(BadInputError, match="no unit of systemd can hold"):
        emit("systemd", deployment(models=("a\x00b",)))
    with pytest.raises(BadInputError, match="no file of settings can hold"):
        emit("systemd", deployment(store="a\nB=c"))


def test_no_name_breaks_out_of_a_program():
    (file,) = emit("ray", hostile())
    calls = [each for each in ast.walk(ast.parse(file.text)) if isinstance(each, ast.Call)]
    (place,) = [each for each in calls if getattr(each.func, "id", "") == "Place"]
    values = {each.arg: ast.literal_eval(each.value) for each in place.keywords if each.arg != "watch"}
    assert values["models"] == (HOSTILE,) == values["hosts"]
    assert len(calls) == len(
        [each for each in ast.walk(ast.parse(emit("ray", deployment())[0].text)) if isinstance(each, ast.Call)]
    )


def test_the_application_of_ray_is_built_by_ray(tmp_path, monkeypatch, ray_serve):
    of = deployment(size=Size(1, 5, workers=2))
    (path,) = write(emit("ray", of), tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__(path.stem)
    assert isinstance(module.app, ray_serve.Application)
    config = module.Server._deployment_config
    scaling = config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 10), "a process of ours is a replica of Ray's"
    assert scaling.target_ongoing_requests == pytest.approx(of.capacity.ongoing(of.capacity.rate_s), rel=1e-3)
    assert config.max_ongoing_requests >= scaling.target_ongoing_requests
    assert config.graceful_shutdown_timeout_s > crew._DRAIN_S
    hosted = module.server()
    assert hosted.place.models == of.models
    assert hosted.app is None, "nothing is opened before a replica begins"


def test_nothing_is_overwritten_unless_one_says_so(tmp_path):
    files = (File("a", "new"), File("b", "new"))
    (tmp_path / "b").write_text("mine")
    with pytest.raises(BadInputError, match="would be overwritten"):
        write(files, tmp_path)
    assert (tmp_path / "b").read_text() == "mine"
    assert not (tmp_path / "a").exists(), "or half of a deployment would be there"
    write(files, tmp_path, force=True)
    assert (tmp_path / "b").read_text() == "new"


def test_a_comment_has_no_second_line():
    assert comment(["a\nb\x85c\u2028d"]) == "# a?b?c?d\n"


def test_every_target_says_why_so_many_replicas():
    assert len(TARGETS) == 4
    for target in TARGETS:
        assert any("replicas = arrivals / rate" in each.text for each in emit(target, deployment())), target


def test_a_target_that_is_not_there_is_refused_by_the_nearest():
    with pytest.raises(UnknownNameError, match="kubernetes"):
        emit("kubernets", deployment())


@pytest.mark.parametrize(("said", "meant"), [("3", (3, 3)), ("2..10", (2, 10))])
def test_replicas_are_a_number_or_a_range(said, meant):
    assert replicas(said) == meant


@pytest.mark.parametrize("wrong", ["", "0", "2..", "-1", "1..2..3", "٣"])
def test_what_is_no_number_of_replicas_is_refused(wrong):
    with pytest.raises(BadInputError, match="no number of replicas"):
        replicas(wrong)


def test_fewer_at_most_than_at_least_is_refused():
    with pytest.raises(BadInputError, match="there is nothing"):
        Size(5, 2)


def test_names_are_labels_however_long():
    of = deployment(models=tuple(f"{'long.model_name' * 4}{at}" for at in range(3)))
    assert LABEL.fullmatch(of.name)
    assert len(of.name) + len("-artifacts-0") <= 63
    assert math.isfinite(of.request_usd)
