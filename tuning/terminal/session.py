"""One run of `run_task`: from a task file to an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from controllers.base import Controller, DeploymentIdentity
from tuning.composition import build_controller, build_ports, take_back, tokenizer_for
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import DeploymentMode
from tuning.domain.planning import plan
from tuning.domain.spec import TaskSpec, parse_task, read_document
from tuning.domain.spec_sections import OmeMeasuring
from tuning.flag_findings import with_right_flags
from tuning.logs import TaskLog
from tuning.models import Task
from tuning.orchestrator.control import resume, submit
from tuning.orchestrator.drive import drive
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.plan import deployment_request
from tuning.reports import as_document, task_report
from tuning.terminal.console import output_console
from tuning.terminal.display import Display, LiveDisplay, PlainDisplay
from tuning.terminal.dry_run import plan_document, print_plan
from tuning.terminal.interrupts import Interrupts
from tuning.terminal.summary import print_summary

EXIT_DONE = 0
EXIT_NOTHING_SUCCEEDED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

FIELD_AT_FAULT = {
    FailureKind.MODEL_MISSING: "model.id_or_path",
    FailureKind.ENGINE_MISSING: "base_runtime",
    FailureKind.BAD_FLAG: "parameters",
}
"""The field of the task file that a failure found before any launch points at."""


class CannotRun(Exception):
    """Nothing was created, because the task could not have run; the text says why."""


@dataclass(frozen=True)
class Overrides:
    """What the command line says instead of the task file."""

    mode: str | None = None
    max_iterations: int | None = None
    seed: int | None = None
    measuring: OmeMeasuring | None = None

    def applied_to(self, document: Mapping[str, Any]) -> dict[str, Any]:
        changed = dict(document)
        if self.mode is not None:
            changed["deployment_mode"] = self.mode
        optimization = document.get("optimization", {})
        wanted = {"max_iterations": self.max_iterations, "seed": self.seed}
        given = {name: value for name, value in wanted.items() if value is not None}
        if given and isinstance(optimization, Mapping):
            changed["optimization"] = {**optimization, **given}
        ome = document.get("ome", {})
        if self.measuring is not None and isinstance(ome, Mapping):
            changed["ome"] = {**ome, "measuring": self.measuring.value}
        return changed


@dataclass(frozen=True)
class Session:
    """How the user wants to watch, and where models lie."""

    as_json: bool
    verbose: bool
    models_dir: Path | None

    def run_file(self, path: Path, overrides: Overrides) -> int:
        """Tune as a task file says.

        Raises:
            InvalidTask: the file's problems, all at once; nothing was created.
            CannotRun: the model or the engine is not there; nothing was created.
        """
        spec = load_spec(path, overrides)
        controller = build_controller(spec.deployment_mode, self.models_dir)
        self.check(spec, controller)
        return self._run(submit(spec, driver=this_process()), controller)

    def resume_task(self, task_id: int) -> int:
        """Go on with a stopped task.

        Raises:
            CannotRun: there is no such task, or its model or engine is not there.
            TaskIsBusy, IllegalTransition: as `tuning.orchestrator.control.resume`.
        """
        task = Task.objects.filter(pk=task_id).first()
        if task is None:
            raise CannotRun(f"--resume: there is no task {task_id}.")
        spec = task.parsed_spec()
        controller = build_controller(spec.deployment_mode, self.models_dir)
        self.check(spec, controller)
        take_back()
        return self._run(resume(task_id, driver=this_process()), controller)

    def dry_run(self, path: Path, overrides: Overrides) -> int:
        """Print what a task would do. Raises InvalidTask."""
        spec = load_spec(path, overrides)
        controller = build_controller(spec.deployment_mode, self.models_dir)
        document = plan_document(spec, controller, settings.AUTOTUNER_INSTANCE)
        if self.as_json:
            print_json(document)
        else:
            print_plan(output_console(), document)
        return EXIT_DONE

    def check(self, spec: TaskSpec, controller: Controller) -> None:
        """Refuse before anything is created what could not run at all.

        Raises:
            CannotRun, SpaceError, TokenizerUnavailable: with a sentence for the user.
        """
        failure = controller.check(
            deployment_request(
                spec,
                DeploymentIdentity(settings.AUTOTUNER_INSTANCE, 0, 0, 0),
                spec.space().baseline(),
            )
        )
        if failure is not None:
            raise CannotRun(_located(failure, spec.deployment_mode))
        plan(spec)
        tokenizer_for(spec, self.models_dir)

    def _run(self, task: Task, controller: Controller) -> int:
        display = self.display_for(task)
        log = TaskLog(task.pk, settings.AUTOTUNER_LOG_DIR, echo=display.line)
        interrupts = Interrupts(on_request=lambda: display.say(STOPPING))
        ports = build_ports(
            task.parsed_spec(),
            controller,
            log,
            models_dir=self.models_dir,
            on_progress=display.progress,
            interrupted=lambda: interrupts.requested,
        )
        with interrupts, log, display:
            display.say(f"Task {task.pk}: {task.name}")
            drive(task.pk, ports)
        task.refresh_from_db()
        self.print_result(task)
        return exit_code(task)

    def display_for(self, task: Task) -> Display:
        # With --json, standard output belongs to the one document.
        console = output_console(stderr=self.as_json)
        if console.is_terminal and not self.as_json:
            return LiveDisplay(console, task, verbose=self.verbose)
        return PlainDisplay(console, verbose=self.verbose, quiet=self.as_json and not self.verbose)

    def print_result(self, task: Task) -> None:
        report = task_report(task)
        if self.as_json:
            print_json(as_document(report))
            return
        console = output_console()
        print_summary(console, report)
        if task.state is TaskStatus.CANCELLED:
            console.print(f"Go on with: python manage.py run_task --resume {task.pk}")


STOPPING = "Stopping the engine; what was measured is kept …"


def load_spec(path: Path, overrides: Overrides) -> TaskSpec:
    """Read a task file.

    Raises:
        CannotRun: the file can't be read, or can't be measured as the command line says.
        InvalidTask: it is not a valid task.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise CannotRun(f"task file {path}: {error.strerror}.") from error
    spec = with_right_flags(parse_task(overrides.applied_to(read_document(text))))
    if overrides.measuring is OmeMeasuring.BENCHMARK_JOB and not spec.is_measured_by_jobs:
        raise CannotRun(
            "--benchmark-job is for deployment_mode ome, and this task's is "
            f"{spec.deployment_mode}."
        )
    return spec


def exit_code(task: Task) -> int:
    if task.state is TaskStatus.CANCELLED:
        return EXIT_INTERRUPTED
    return EXIT_DONE if task.state is TaskStatus.COMPLETED else EXIT_NOTHING_SUCCEEDED


def _located(failure: Failure, mode: DeploymentMode) -> str:
    field = FIELD_AT_FAULT.get(failure.kind)
    if failure.kind is FailureKind.ENGINE_MISSING and mode is not DeploymentMode.LOCAL:
        # What is missing then is where engines run, and not one of them.
        field = "deployment_mode"
    return f"{field}: {failure.message}" if field else failure.message


def print_json(document: Mapping[str, Any]) -> None:
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")
