"""Keep a grid that was measured here as a file that `benchmarks/search.py` can replay.

    python -m benchmarks.replay.grid_file TASK_ID --system smollm-on-two-cores > NAME.grid.json

Takes a finished task of this installation's database. Each experiment is a configuration with the
value of each objective, or with its failure; the file also tells machine, engine and seed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.models import Experiment, Task

MEASURED_STATUSES = ("SUCCESS", "FAILED")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task_id", type=int)
    parser.add_argument("--system", required=True, help="short name of model and machine")
    options = parser.parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")
    import django

    django.setup()
    from tuning.models import Task

    task = Task.objects.filter(pk=options.task_id).first()
    if task is None:
        print(f"There is no task {options.task_id} in this database.", file=sys.stderr)
        return 2
    json.dump(grid_document(task, options.system), sys.stdout, indent=1)
    return 0


def grid_document(task: Task, system: str) -> dict[str, Any]:
    """The grid of a task, with the baseline left out: it is outside the space."""
    from tuning.domain.objectives import NAMED_OBJECTIVES

    objectives = list(NAMED_OBJECTIVES.values())
    experiments = task.experiments.filter(status__in=MEASURED_STATUSES, number__gt=0)
    spec = task.parsed_spec()
    return {
        "system": system,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "engine": spec.base_runtime.value,
        "model": spec.model.id_or_path,
        "seed": spec.optimization.seed,
        "traffic": list(spec.benchmark.traffic_scenarios),
        "objectives": [
            {"metric": objective.metric, "direction": objective.direction.value}
            for objective in objectives
        ],
        "configurations": [
            configuration_entry(experiment)
            for experiment in experiments.prefetch_related("measurements")
        ],
    }


def configuration_entry(experiment: Experiment) -> dict[str, Any]:
    """One configuration: its parameters, seconds, and values or failure."""
    from tuning.domain.objectives import NAMED_OBJECTIVES, values_of

    objectives = list(NAMED_OBJECTIVES.values())
    points = [measurement.as_point() for measurement in experiment.measurements.all()]
    values = values_of(points, objectives)
    return {
        "parameters": experiment.parameters,
        "duration_s": experiment.duration_s or 0.0,
        "failure": experiment.failure_kind or None,
        "metrics": {
            objective.metric: value
            for objective, value in zip(objectives, values, strict=True)
            if value is not None
        },
    }


if __name__ == "__main__":
    sys.exit(main())
