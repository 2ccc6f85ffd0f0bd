"""Every python and bash block of the README and the docs runs, in order, page by page.

Blocks marked `text` are shown only: they take long, or need other machines.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NEEDS_NETWORK = ("data fetch birds",)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src/openflextok/photos", tmp_path / "photos")
    shutil.copytree(ROOT / "tests/data/parity/case1", tmp_path / "flextok_d12_d12_in1k")
    binary = Path(sys.executable).parent
    env = os.environ | {"HF_HUB_OFFLINE": "1", "PATH": f"{binary}{os.pathsep}{os.environ['PATH']}"}
    for language, code in blocks(page):
        lines = [line for line in code.splitlines() if not any(words in line for words in NEEDS_NETWORK)]
        command = {"python": [sys.executable, "-c"], "bash": ["bash", "-euc"]}[language]
        done = subprocess.run(
            [*command, "\n".join(lines)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"


def test_every_page_is_in_the_navigation_once() -> None:
    pages = [name for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"] for name in entry.values()]
    assert sorted(pages) == sorted(page.name for page in (ROOT / "docs").glob("**/*.md"))


def test_links_between_files_lead_somewhere() -> None:
    """`make docs` checks the anchors too; this needs nothing installed and covers the pages outside of docs/."""
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_version_is_the_same_everywhere() -> None:
    import openflextok

    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{openflextok.__version__}"' in project
    assert f"version: {openflextok.__version__}" in (ROOT / "CITATION.cff").read_text()
