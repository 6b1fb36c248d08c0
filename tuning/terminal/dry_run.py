"""What `run_task --dry-run` prints: every configuration with its command line, and the time."""

from __future__ import annotations

import shlex

from rich.console import Console

from controllers.base import Controller, DeploymentIdentity
from tuning import formatting as formatted
from tuning.domain.planning import plan
from tuning.domain.spec import TaskSpec
from tuning.estimates import Capacity, estimated_experiment_s, estimated_total_s
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.plan import deployment_request
from tuning.terminal.console import print_plain


def plan_document(spec: TaskSpec, controller: Controller, instance: str) -> dict[str, object]:
    """The plan as JSON: configurations with their command lines, and the estimate in seconds."""
    planned = plan(spec)
    experiment_s, basis = estimated_experiment_s(spec)
    at_once = Capacity().runs_at_once(spec, driver=this_process())
    first = 0 if spec.optimization.baseline else 1
    return {
        "task_name": spec.task_name,
        "experiments": [
            {
                "number": number,
                "parameters": dict(parameters),
                "command": list(
                    controller.command_line(
                        deployment_request(
                            spec, DeploymentIdentity(instance, 0, number, 1), parameters
                        )
                    )
                ),
            }
            for number, parameters in enumerate(planned.configurations, start=first)
        ],
        "is_complete": planned.is_complete,
        "estimated_experiment_s": round(experiment_s, 1),
        "estimated_total_s": round(
            estimated_total_s(len(planned.configurations), experiment_s, at_once), 1
        ),
        "estimate_basis": basis,
    }


def print_plan(console: Console, document: dict[str, object]) -> None:
    experiments = document["experiments"]
    assert isinstance(experiments, list)
    for experiment in experiments:
        name = "baseline" if experiment["number"] == 0 else f"experiment {experiment['number']}"
        print_plain(console, f"{name}: {formatted.flags(experiment['parameters'])}")
        print_plain(console, f"  {shlex.join(experiment['command'])}")
    if not document["is_complete"]:
        print_plain(console, "… and more: only the first of them are listed.")
    total, one = document["estimated_total_s"], document["estimated_experiment_s"]
    assert isinstance(total, float)
    assert isinstance(one, float)
    print_plain(
        console,
        f"{len(experiments)} experiments, about {formatted.duration(total)} in all "
        f"({formatted.duration(one)} each, {document['estimate_basis']}). "
        "Nothing was launched or stored.",
    )
