"""`manage.py run_task task.json`: tune in this process, from the task file to the best flags.

With `--queue` the workers do it, and this process only submits the task, or watches it.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from controllers.registry import DeploymentModeUnavailable
from tuning.database import DatabaseNotReady, prepare_database
from tuning.domain.lifecycle import IllegalTransition
from tuning.domain.names import DeploymentMode
from tuning.domain.space import SpaceError
from tuning.domain.spec import InvalidTask
from tuning.domain.spec_sections import OmeMeasuring
from tuning.orchestrator.control import TaskIsBusy
from tuning.orchestrator.ports import TokenizerUnavailable
from tuning.terminal.queued import queue_file
from tuning.terminal.session import EXIT_BAD_INPUT, CannotRun, Overrides, Session

REFUSALS = (
    CannotRun,
    DatabaseNotReady,
    DeploymentModeUnavailable,
    IllegalTransition,
    InvalidTask,
    SpaceError,
    TaskIsBusy,
    TokenizerUnavailable,
)
"""What is wrong with the input rather than with the run."""


class Command(BaseCommand):
    help = (
        "Tune an engine as a task file says, in this process, and print the best configuration. "
        "Exit code: 0 done, 1 no configuration succeeded, 2 bad input, 130 interrupted."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("task_file", nargs="?", type=Path, help="the task as a JSON file")
        parser.add_argument(
            "--resume", type=int, metavar="ID", help="go on with a task that was stopped"
        )
        parser.add_argument(
            "--mode",
            choices=[mode.value for mode in DeploymentMode],
            help="deploy this way, whatever the file's deployment_mode says",
        )
        parser.add_argument(
            "--direct",
            action="store_true",
            help="measure from this machine, whatever ome.measuring says; other modes always do",
        )
        parser.add_argument(
            "--benchmark-job",
            action="store_true",
            help="have OME measure in the cluster, whatever ome.measuring says",
        )
        parser.add_argument(
            "--model-path",
            type=Path,
            metavar="DIR",
            help="where relative model paths are looked up (default: AUTOTUNER_MODEL_PATH)",
        )
        parser.add_argument("--max-iterations", type=int, metavar="N", help="try at most N")
        parser.add_argument("--seed", type=int, help="seed of the search")
        parser.add_argument(
            "--verbose", action="store_true", help="show the engine's and genai-bench's output"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="print the plan and launch nothing"
        )
        parser.add_argument(
            "--queue", action="store_true", help="submit the task to the workers and return"
        )
        parser.add_argument(
            "--wait", action="store_true", help="with --queue: watch the task until it ends"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document instead")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            prepare_database()
            code = run(options)
        except REFUSALS as refusal:
            raise CommandError(str(refusal), returncode=EXIT_BAD_INPUT) from refusal
        sys.exit(code)


def run(options: dict[str, Any]) -> int:
    task_file: Path | None = options["task_file"]
    task_id: int | None = options["resume"]
    session = Session(options["json"], options["verbose"], options["model_path"])
    overrides = Overrides(
        options["mode"], options["max_iterations"], options["seed"], _measuring(options)
    )
    _refuse_contradictions(options, overrides)
    if task_id is not None:
        return session.resume_task(task_id)
    if task_file is None:
        raise CannotRun("Name a task file, or a task to go on with: --resume ID.")
    if options["queue"]:
        return queue_file(task_file, overrides, session, wait=options["wait"])
    if options["dry_run"]:
        return session.dry_run(task_file, overrides)
    return session.run_file(task_file, overrides)


def _measuring(options: dict[str, Any]) -> OmeMeasuring | None:
    """Raises CannotRun."""
    if options["direct"] and options["benchmark_job"]:
        raise CannotRun("--direct and --benchmark-job contradict one another: give one of them.")
    if options["direct"]:
        return OmeMeasuring.DIRECT
    return OmeMeasuring.BENCHMARK_JOB if options["benchmark_job"] else None


def _refuse_contradictions(options: dict[str, Any], overrides: Overrides) -> None:
    """Raises CannotRun."""
    alone = options["task_file"] is None and overrides == Overrides() and not options["dry_run"]
    if options["resume"] is not None and (options["queue"] or not alone):
        raise CannotRun(
            "--resume goes on in this process with the task as it was submitted: "
            "give no task file, --mode, --direct, --benchmark-job, --max-iterations, --seed, "
            "--dry-run or --queue with it."
        )
    if options["wait"] and not options["queue"]:
        raise CannotRun("--wait watches a task that is given to the workers: add --queue.")
    if options["queue"] and options["dry_run"]:
        raise CannotRun("--dry-run launches nothing, so there is nothing to --queue.")
    if options["queue"] and options["model_path"] is not None:
        raise CannotRun(
            "--model-path is for a run in this process: workers look in AUTOTUNER_MODEL_PATH."
        )
