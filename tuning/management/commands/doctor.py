"""`manage.py doctor`: what this installation has, what it lacks, and how to mend that."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tuning.system.check import Check, CheckState
from tuning.system.checks import all_needed_is_there, as_document, run_checks

SIGNS = {CheckState.OK: "✓", CheckState.WARNING: "!", CheckState.MISSING: "✗"}
PLAIN_SIGNS = {CheckState.OK: "+", CheckState.WARNING: "!", CheckState.MISSING: "x"}
"""For a terminal that has no others."""


class Command(BaseCommand):
    help = (
        "Check what the autotuner needs and what it could use. Nothing is changed. "
        "Exit code 1 when something that the settings need is missing."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        checks = run_checks()
        if options["json"]:
            self.stdout.write(json.dumps(as_document(checks), indent=2))
        else:
            # A path or an error's text may hold letters that this terminal does not have.
            encoding = getattr(self.stdout, "encoding", None) or "utf-8"
            for line in self._table(checks, encoding):
                self.stdout.write(line.encode(encoding, "replace").decode(encoding))
        if not all_needed_is_there(checks):
            sys.exit(1)

    def _table(self, checks: Sequence[Check], encoding: str) -> Iterator[str]:
        styles = {
            CheckState.OK: self.style.SUCCESS,
            CheckState.WARNING: self.style.WARNING,
            CheckState.MISSING: self.style.ERROR,
        }
        signs, arrow = _characters(encoding)
        width = max(len(check.name) for check in checks)
        group = ""
        for check in checks:
            if check.group != group:
                yield self.style.MIGRATE_HEADING(check.group)
                group = check.group
            sign = styles[check.state](signs[check.state])
            yield f"  {sign} {check.name:{width}}  {check.detail}"
            if check.hint:
                yield f"    {'':{width}}  {arrow} {check.hint}"
        yield ""
        yield _summary(checks)


def _characters(encoding: str) -> tuple[dict[CheckState, str], str]:
    try:
        "✓✗→".encode(encoding)
    except UnicodeEncodeError:
        return PLAIN_SIGNS, "->"
    return SIGNS, "→"


def _summary(checks: Sequence[Check]) -> str:
    missing = [check.name for check in checks if check.state is CheckState.MISSING]
    if missing:
        return f"Missing: {', '.join(missing)}. Every line is explained in docs/DOCTOR.md."
    return "Everything that the settings need is there."
