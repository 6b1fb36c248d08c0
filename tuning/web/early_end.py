"""Why an experiment was not measured to its end, as its page tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuning.domain.objectives import Objective
from tuning.formatting import metric, metric_label
from tuning.models import Experiment
from tuning.progress import NOT_SHOWN
from tuning.templatetags.show import metrics_by_label


@dataclass(frozen=True)
class EarlyEnd:
    """`rival` is the experiment that it would have had to beat, with its value then. `skipped` are
    concurrencies by scenario. What is not known is empty."""

    kind: str
    sentence: str
    rival: Experiment | None = None
    rival_value: str = ""
    chance: str = ""
    skipped: Mapping[str, str] | None = None


def early_end_of(experiment: Experiment, objective: Objective) -> EarlyEnd | None:
    """None when everything was measured. One query, for the rival."""
    stored = experiment.early_end
    if not stored:
        return None
    numbers: Mapping[str, float] = stored.get("numbers") or {}
    rival = _rival(experiment, numbers)
    return EarlyEnd(
        kind=stored["kind"],
        sentence=metrics_by_label(stored["reason"])
        if rival is None
        else _sentence(numbers, objective),
        rival=rival,
        rival_value="" if rival is None else metric(objective.metric, numbers["best_score"]),
        chance=_chance(numbers["chance"]) if "chance" in numbers else "",
        skipped=_by_scenario(stored.get("skipped") or ()),
    )


def _rival(experiment: Experiment, numbers: Mapping[str, float]) -> Experiment | None:
    if not {"best_experiment", "best_score", "score_bound"} <= numbers.keys():
        return None
    others = experiment.task.experiments.defer(*NOT_SHOWN)
    return others.filter(number=int(numbers["best_experiment"])).first()


def _sentence(numbers: Mapping[str, float], objective: Objective) -> str:
    """`After 3 of 8 loads its E2E latency mean can be expected to be 2.31 s at best.`"""
    bound = metric(objective.metric, numbers["score_bound"])
    label = metric_label(objective.metric)
    if "loads" in numbers:
        measured = f"{numbers['loads_measured']:g} of {numbers['loads']:g} loads"
    else:
        measured = f"{numbers['probes']:g} load{'s' if numbers['probes'] > 1 else ''}"
    return f"After {measured} its {label} can be expected to be {bound} at best."


def _chance(chance: float) -> str:
    percent = f"{chance * 100:.2g}\u00a0%" if chance >= 0.0001 else "0.01\u00a0%"
    return f"at most {percent}"


def _by_scenario(skipped: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """`{"D(512,128)": "1, 4 and 16"}`."""
    found: dict[str, list[str]] = {}
    for load in skipped:
        found.setdefault(load["scenario"], []).append(str(load["concurrency"]))
    return {
        scenario: " and ".join([", ".join(levels[:-1]), levels[-1]] if levels[1:] else levels)
        for scenario, levels in found.items()
    }
