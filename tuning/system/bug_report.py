"""What somebody who is to help has to know of an installation, as text."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Mapping, Sequence

from tuning.system.check import Check


def bug_report(checks: Sequence[Check], versions: Mapping[str, str | None]) -> str:
    """Checks and versions, one a line. Like the checks, it holds paths but no password."""
    lines = [f"System: {platform.platform()}", ""]
    for group, members in itertools.groupby(checks, key=lambda check: check.group):
        lines.append(group)
        lines += [f"  {check.state:8}{check.name}: {check.detail}" for check in members]
        lines.append("")
    lines.append("Versions")
    lines += [f"  {name}: {version or 'not there'}" for name, version in versions.items()]
    return "\n".join(lines)
