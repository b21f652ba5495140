"""The documentation is executed and complete, or this is red."""

import os
import re
from pathlib import Path

import pytest
from warm import run

import pennyweight
from pennyweight import evals, levers

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HEADINGS = ("What it does", "When to use it", "What it costs in quality", "What it composes with", "Source")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def named(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=named)
def test_python_blocks_run(page, tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    program = "\n\n".join(["import warnings; warnings.simplefilter('ignore')", *blocks(page, "python")])
    environment = {**os.environ, "PENNYWEIGHT_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    done = run(program, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=named)
def test_shell_blocks_run(page, tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    environment = {**os.environ, "PENNYWEIGHT_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    for line in "".join(blocks(page, "sh")).splitlines():
        words = line.split("#")[0].split()
        assert words[0] == "pennyweight", f"only pennyweight commands are run from docs: {line}"
        done = run("from pennyweight.cli import main; main()", *words[1:], cwd=tmp_path, env=environment)
        assert done.returncode == 0, f"{line}: {done.stderr}"


def test_every_command_and_option_is_documented():
    from typer.main import get_command

    from pennyweight.cli.app import app

    text = (ROOT / "docs/reference/cli.md").read_text()
    for name in get_command(app).commands:
        assert f"`pennyweight {name}" in text, name


def test_every_exit_code_is_documented():
    from pennyweight import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")]
    text = (ROOT / "docs/reference/cli.md").read_text()
    assert len(kinds) > 5
    for kind in kinds:
        assert f"| {kind.exit_code} |" in text, kind


def test_every_public_name_is_documented():
    text = (ROOT / "docs/reference/python.md").read_text()
    for name in pennyweight.__all__:
        assert f"`{name}`" in text, name


def test_every_metric_is_on_the_page_about_quality():
    text = (ROOT / "docs/howto/quality.md").read_text()
    assert len(evals.names()) >= 15
    for name in evals.names():
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("name", levers.find())
def test_every_lever_has_a_card_with_all_its_headings_in_the_site(name):
    card = (ROOT / f"docs/levers/{name}.md").read_text()
    assert card.startswith(f"# {name}\n")
    for heading in HEADINGS:
        assert f"\n## {heading}\n" in card, heading
    assert f"levers/{name}.md" in (ROOT / "zensical.toml").read_text()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
