"""Every page of a seeded site, for tests and for pictures."""

from __future__ import annotations

from collections.abc import Mapping

# The seeding gives each task its state by its number: 1 to 12 and 18 … see tests/seeding.py.
COMPLETED, OTHER_COMPLETED, RUNNING, DRAFT = 1, 2, 13, 18

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
    "containers": "/containers/",
    "system": "/system/",
    "account": "/account/",
    "password": "/account/password/",
    "not-found": "/tasks/999999/",
}
