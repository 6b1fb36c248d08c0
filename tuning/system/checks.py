"""All checks of `manage.py doctor`, by group, in the order in which they are shown.

None of them creates or changes anything. (Importing the settings does, once: the data directory
with `secret_key` and `instance` in it.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tuning.system.check import Attempt, Check, CheckState, Probe
from tuning.system.check_cluster import CLUSTER_PROBES
from tuning.system.check_engines import ENGINE_PROBES, PLATFORM_PROBES
from tuning.system.check_host import HOST_PROBES
from tuning.system.check_services import SERVICE_PROBES

Groups = Mapping[str, Sequence[Probe]]

GROUPS: Groups = {
    "This installation": HOST_PROBES,
    "Services": SERVICE_PROBES,
    "Engines": ENGINE_PROBES,
    "Other places to run engines": PLATFORM_PROBES,
    "Cluster of ome mode": CLUSTER_PROBES,
}


def run_checks(groups: Groups = GROUPS) -> list[Check]:
    """Every check's result, within the time limit of one: they run side by side."""
    attempts = [
        (group, probe.name, Attempt(probe)) for group, probes in groups.items() for probe in probes
    ]
    checks = []
    for group, name, attempt in attempts:
        found = attempt.finding()
        checks.append(Check(group, name, found.state, found.detail, found.hint))
    return checks


def all_needed_is_there(checks: Sequence[Check]) -> bool:
    return all(check.state is not CheckState.MISSING for check in checks)


def as_document(checks: Sequence[Check]) -> dict[str, Any]:
    """`{"ok": bool, "checks": [{group, name, state, detail, hint}, ...]}`"""
    return {"ok": all_needed_is_there(checks), "checks": [asdict(check) for check in checks]}
