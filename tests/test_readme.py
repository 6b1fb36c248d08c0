"""What the README shows has to work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tuning.domain.planning import plan
from tuning.domain.spec import parse_task

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()


def test_the_task_file_of_the_readme_is_valid() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert len(plan(parse_task(example)).configurations) == 11


@pytest.mark.parametrize(
    "path", sorted((PROJECT / "examples").glob("*.json")), ids=lambda p: p.name
)
def test_every_example_is_a_valid_task(path: Path) -> None:
    document = json.loads(path.read_text())
    assert plan(parse_task(document)).configurations


def test_every_link_leads_to_a_file() -> None:
    for page in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
