"""Every page of a seeded site, for tests and for pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping

# The seeding gives each task its state by its number: 1 to 12 and 18 … see tests/seeding.py.
COMPLETED, OTHER_COMPLETED, RUNNING, DRAFT = 1, 2, 13, 18

SHOWCASE = "--showcase"
"""Has the seeding print, on its last line, what `PAGES` names in braces."""


def shown_in(seeding_output: str) -> dict[str, int]:
    """Tasks and experiments of the showcase by name."""
    places: dict[str, int] = json.loads(seeding_output.strip().splitlines()[-1])
    return places


PAGES: Mapping[str, str] = {
    "dashboard": "/",
    "tasks": "/tasks/",
    "tasks-nothing-found": "/tasks/?q=no+such+task",
    "new-task": "/tasks/new/",
    "import": "/tasks/import/",
    "task-completed": f"/tasks/{COMPLETED}/",
    "task-running": f"/tasks/{RUNNING}/",
    "task-draft": f"/tasks/{DRAFT}/",
    "edit-draft": f"/tasks/{DRAFT}/edit/",
    "log": f"/tasks/{COMPLETED}/logs/",
    "experiment": "/experiments/2/",
    "compare-tasks": f"/compare/?task={COMPLETED}&task={COMPLETED + 3}",
    "compare-experiments": "/compare/?experiment=1&experiment=2",
    "compare-nothing": "/compare/",
    "task-verified": "/tasks/{better}/",
    "task-no-difference": "/tasks/{no_difference}/",
    "task-unstable": "/tasks/{unstable}/",
    "task-front": "/tasks/{front}/",
    "task-goodput": "/tasks/{goodput}/",
    "task-verifying": "/tasks/{verifying}/",
    "task-cluster": "/tasks/{cluster}/",
    "task-several-draft": "/tasks/{several_draft}/",
    "edit-several-draft": "/tasks/{several_draft}/edit/",
    "experiment-pruned": "/experiments/{pruned_experiment}/",
    "experiment-broken": "/experiments/{broken_experiment}/",
    "experiment-failed-requests": "/experiments/{failing_experiment}/",
    "experiment-verification": "/experiments/{verification_experiment}/",
    "experiment-cluster": "/experiments/{cluster_experiment}/",
    "experiment-front": "/experiments/{front_experiment}/",
    "experiment-goodput": "/experiments/{goodput_experiment}/",
    "compare-fronts": "/compare/?task={front}&task={better}",
    "compare-outcomes": "/compare/?experiment={pruned_experiment}&experiment={broken_experiment}",
    "containers": "/containers/",
    "system": "/system/",
    "account": "/account/",
    "password": "/account/password/",
    "not-found": "/tasks/999999/",
}
