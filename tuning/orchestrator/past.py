"""What the other experiments of a task have measured so far."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.measuring.course import Past
from tuning.domain.measuring.loads import Load
from tuning.models import Experiment, Measurement
from tuning.models.experiment import TERMINAL_EXPERIMENT_STATUSES


class PastExperiments:
    """The ended experiments of the same task as `experiment`, each read once."""

    def __init__(self, experiment: Experiment) -> None:
        self._others = Experiment.objects.filter(
            task_id=experiment.task_id,
            fidelity=experiment.fidelity,
            status__in=TERMINAL_EXPERIMENT_STATUSES,
        ).exclude(pk=experiment.pk)
        self._known: dict[int, Past] = {}

    def read(self) -> list[Past]:
        """Also those that have ended since the last time, side by side with this one."""
        new = list(self._others.exclude(pk__in=list(self._known)).order_by("number"))
        if new:
            measured = defaultdict(list)
            rows = Measurement.objects.filter(experiment__in=new).defer("raw").order_by("pk")
            for row in rows:
                measured[row.experiment_id].append(row)
            for one in new:
                self._known[one.pk] = _past(one, measured[one.pk])
        return list(self._known.values())


def _past(experiment: Experiment, measurements: list[Measurement]) -> Past:
    seconds = defaultdict(list)
    for one in measurements:
        seconds[Load(one.scenario, one.concurrency)].append(one.duration_s)
    is_rival = experiment.state is ExperimentStatus.SUCCESS
    return Past(
        number=experiment.number,
        points=[one.as_point() for one in measurements],
        score=experiment.score if is_rival else None,
        seconds={load: median(each) for load, each in seconds.items()},
    )
