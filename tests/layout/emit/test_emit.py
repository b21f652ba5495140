import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from launches import bash, named, number, offer, serving, started, training, value

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.core.layout import Layout
from pennyweight.errors import BadInputError, UnknownNameError
from pennyweight.layout.emit import Launch, Serve, Train, emit, load, targets
from pennyweight.layout.emit.launch import KINDS

SCRIPTS, MANIFESTS = ("slurm", "torchrun", "vllm"), ("kubernetes", "skypilot")
HOSTILE = (
    "$(touch hacked)", "`touch hacked`", "a; touch hacked", "a' ; touch hacked #", 'a" ; touch hacked #', "a\\", "a b",
    "| touch hacked", "#SBATCH", "a # b", "a: b", "&anchor", "!tag", "*", "~", "%x", "{}", "${LR}", "'''", "é/模型",
)  # fmt: skip
DEGREES = st.sampled_from([1, 2, 4])


def plain(kind):
    return training() if kind == "train" else serving()


def test_every_target_is_found_by_its_file_name():
    assert targets() == ("kubernetes", "skypilot", "slurm", "torchrun", "vllm")
    with pytest.raises(UnknownNameError, match="one of: kubernetes"):
        load("kubernets")


@pytest.mark.parametrize("kind", ["train", "serve"])
@pytest.mark.parametrize("name", targets())
def test_every_target_writes_a_plain_launch_or_says_in_a_sentence_who_does(name, kind):
    if kind in load(name).kinds:
        assert len(emit(name, plain(kind)).splitlines()) > 10
    else:
        with pytest.raises(BadInputError, match=rf"^{name} does not {kind} models\. To fix: use one that does: \w"):
            emit(name, plain(kind))


@pytest.mark.parametrize("kind", ["train", "serve"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_bash_and_say_what_they_start(name, kind):
    if kind in load(name).kinds:
        text = emit(name, plain(kind))
        assert not bash("-n", input=text).stderr
        assert f"# {kind} {plain(kind).model} on 16 h100: 2 machines" in text
        assert "# planned for 'aws p5.48xlarge, us-east-1'" in text


@pytest.mark.parametrize("kind", ["train", "serve"])
@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_yaml_that_names_no_text_without_quotes(name, kind):
    found = [each for each in yaml.safe_load_all(emit(name, plain(kind))) if each]
    assert len(found) == {("kubernetes", "train"): 3, ("kubernetes", "serve"): 2}.get((name, kind), 1)


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("kind", ["train", "serve"])
def test_names_stay_one_word_and_run_nothing(hostile, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launch = named(plain(kind), hostile)
    option = "--tokenizer-model" if kind == "train" else "--served-model-name"
    for name in targets():
        if kind in load(name).kinds:
            for words in started(name, launch, tmp_path):
                assert value(words, option) == hostile
    assert not list(tmp_path.rglob("hacked"))


@pytest.mark.parametrize("bad", ["a\nb", "a\0b", "\x1b[31m", "--help", " a", "a\u2028b"])
def test_names_that_no_file_can_hold_are_refused(bad):
    for make in (
        lambda: named(training(), bad),
        lambda: serving(serve=Serve(draft=bad, drafts=2)),
        lambda: training(image=bad),
    ):
        with pytest.raises(BadInputError, match=r"printable|option"):
            make()


@st.composite
def trained(draw):
    tp, pp, cp, dp = (draw(DEGREES) for _ in range(4))
    ep, micro, steps = draw(DEGREES), draw(DEGREES), draw(st.integers(1, 4))
    choices = {"recompute": draw(st.sampled_from(["none", "selective", "full"])), "zero": draw(st.integers(0, 3))}
    experts = draw(st.booleans())
    assume((tp * cp * dp) % ep == 0 and (experts or ep == 1))
    layout = Layout(
        tp=tp,
        pp=pp,
        cp=cp,
        dp=dp,
        ep=ep,
        micro_batch=micro,
        sequence_parallel=True,
        chunks=draw(st.integers(1, 2)),
        **choices,
    )
    dims = model("qwen3-30b" if experts else "llama-3-8b")
    train = Train(draw(st.floats(1e6, 1e13)), 4096, dp * micro * steps, draw(st.integers(1, 10**6)))
    return Launch(dims, layout, train, accelerator("h100"), 8, offer=offer())


@given(launch=trained(), name=st.sampled_from(["kubernetes", "skypilot", "slurm", "torchrun"]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_trains_is_the_layout_on_all_devices(launch, name, tmp_path):
    found = started(name, launch, tmp_path)
    layout = launch.layout
    assert len(found) == launch.machines
    for words in found:
        split = [number(words, f"--{kind}-parallel-size") for kind in ("tensor-model", "pipeline-model", "context")]
        world = number(words, "--nnodes") * number(words, "--nproc-per-node")
        assert split == [layout.tp, layout.pp, layout.cp]
        assert world == layout.devices == layout.dp * layout.tp * layout.pp * layout.cp
        assert number(words, "--global-batch-size") % (layout.dp * number(words, "--micro-batch-size")) == 0
        assert number(words, "--train-samples") * 4096 >= launch.train.tokens
        if launch.dims.experts:
            assert number(words, "--expert-model-parallel-size") == layout.ep
            assert number(words, "--expert-tensor-parallel-size") == (1 if layout.ep > 1 else layout.tp)
    assert sorted(number(words, "--node-rank") for words in found) == list(range(launch.machines))


@st.composite
def served(draw):
    tp, pp, attention_dp, replicas = draw(DEGREES), draw(DEGREES), draw(DEGREES), draw(st.integers(1, 5))
    experts = draw(st.booleans())
    ep = tp * attention_dp if experts and draw(st.booleans()) else 1
    whole = tp * pp * attention_dp
    assume(whole <= 8 or whole % 8 == 0)
    assume(attention_dp == 1 or tp * pp <= 8)
    layout = Layout(
        tp=tp, pp=pp, dp=attention_dp * replicas, ep=ep, precision=draw(st.sampled_from(["bf16", "fp8", "nvfp4"]))
    )
    serve = Serve(draw(st.integers(1, 512)), 4096, attention_dp, cache=draw(st.sampled_from(["bf16", "fp8"])))
    return serving(layout, serve, dims=model("qwen3-30b" if experts else "qwen3-32b"))


@given(launch=served(), name=st.sampled_from(["kubernetes", "skypilot", "slurm", "vllm"]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_serves_is_the_layout_on_all_devices_or_a_sentence(launch, name, tmp_path):
    error = refusal(name, launch)
    if error is not None:
        assert name in {"kubernetes", "skypilot"}
        assert "use --emit slurm" in error.fix
        return
    text = emit(name, launch)
    layout, serve = launch.layout, launch.serve
    if name == "skypilot":
        task = yaml.safe_load(text)
        replicas = task.get("service", {}).get("replicas", 1)
        words = started(name, launch, tmp_path)[0]
        assert replicas * _devices(words) == layout.devices
        return
    if name == "vllm" and launch.replicas % launch.machine_groups:
        assert f"REPLICAS={launch.replicas % launch.machine_groups}" in text
        return
    found = started(name, launch, tmp_path)
    if name == "slurm":
        tasks = int(text.split("--ntasks=")[1].split()[0])
        assert tasks == launch.replicas * launch.group_machines
        found = found[:tasks]
    assert sum(_devices(words) for words in found) == layout.devices * launch.group_machines
    assert all(("--enable-expert-parallel" in words) == (layout.ep > 1) for words in found)
    assert all(value(words, "--kv-cache-dtype") == ("fp8" if serve.cache == "fp8" else "auto") for words in found)


def refusal(name, launch):
    """The error of an emitted launch; None if there is none."""
    try:
        emit(name, launch)
    except BadInputError as error:
        return error
    return None


def _devices(words):
    return (
        number(words, "--tensor-parallel-size")
        * number(words, "--pipeline-parallel-size")
        * number(words, "--data-parallel-size")
    )


def test_devices_that_no_launch_file_starts_are_refused():
    for name in ("tpu-v5p", "gaudi3", "trainium2"):
        with pytest.raises(BadInputError, match=r"start devices of NVIDIA and AMD"):
            emit("slurm", replace(training(), accelerator=accelerator(name)))


def test_devices_that_do_not_fill_machines_are_refused():
    with pytest.raises(BadInputError, match=r"12 devices do not fill machines of 8\. To fix: take a multiple of 8"):
        training(Layout(tp=2, dp=6))


def test_impossible_runs_are_refused():
    for make, said in (
        (lambda: Train(1e9, 0, 8), "sequence = 0"),
        (lambda: Train(float("nan"), 8, 8), "nan tokens"),
        (lambda: Serve(requests=0), "requests = 0"),
        (lambda: Serve(utilization=1.5), r"1\.5 of a device"),
        (lambda: serving(Layout(tp=4, dp=3), Serve(attention_dp=2)), "no whole number of replicas"),
        (lambda: replace(training(), node_devices=0), "has 0 devices"),
        (lambda: training(Layout(tp=3, dp=8)), "cannot share the 32 heads"),
    ):
        with pytest.raises(BadInputError, match=said):
            make()


def test_a_slug_is_a_name_that_schedulers_take():
    assert training().slug == "train-meta-llama-3-8b"
    assert named(training(), "模型").slug == "train"
    long = named(training(), "org/" + "Very.Long_" * 20).slug
    assert len(f"{long}-9999") <= 63
    assert shlex.quote(long) == long


def test_every_target_is_on_the_page_about_launch_files():
    text = (Path(__file__).parents[3] / "docs/howto/launch.md").read_text()
    for name in targets():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert [word.strip() == "yes" for word in row.split("|")[3:5]] == [kind in load(name).kinds for kind in KINDS]
