"""What a task has to say besides when it asks for goodput."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tuning.domain.goodput import GOODPUT_METRICS, own_limits
from tuning.domain.metrics import Direction
from tuning.domain.objectives import Objective
from tuning.domain.slo import Slo
from tuning.domain.spec_errors import InvalidSection, Problem, shown
from tuning.domain.spec_objective import read_objectives
from tuning.domain.spec_slo import read_slos

OBJECTIVE_PATH = ("optimization", "objective")


def goodput_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with anything else than goodput is for others to say."""
    optimization, benchmark = document.get("optimization"), document.get("benchmark")
    try:
        slos = read_slos(document.get("slo", {}))
    except InvalidSection:
        return
    for slo in slos:
        if slo.metric in GOODPUT_METRICS:
            yield Problem(("slo", slo.metric), "can't be limited: it follows from the other limits")
    if not isinstance(optimization, Mapping) or "objective" not in optimization:
        return
    raw = optimization["objective"]
    try:
        objectives = read_objectives(raw)
    except InvalidSection:
        return
    if any(one.metric in GOODPUT_METRICS for one in objectives):
        yield from _objective_problems(objectives, slos, raw)
        yield from _concurrency_problems(benchmark)


def _objective_problems(
    objectives: Sequence[Objective], slos: Sequence[Slo], raw: object
) -> Iterator[Problem]:
    if len(objectives) > 1:
        yield Problem(
            OBJECTIVE_PATH,
            "can't have goodput beside others: it is searched for up to the edge of the limits, "
            "where each configuration is under another load",
            shown(raw),
        )
    elif objectives[0].direction is not Direction.MAXIMIZE:
        yield Problem(
            (*OBJECTIVE_PATH, "direction"),
            'must be "maximize" for goodput',
            shown(objectives[0].direction.value),
        )
    if not own_limits(slos):
        yield Problem(
            OBJECTIVE_PATH,
            "needs a hard limit in slo, such as ttft_p99_s: goodput is what is served within it",
            shown(raw),
        )


def _concurrency_problems(benchmark: object) -> Iterator[Problem]:
    levels = benchmark.get("num_concurrency") if isinstance(benchmark, Mapping) else None
    if not isinstance(levels, list) or len(levels) < 2:
        yield Problem(
            ("benchmark", "num_concurrency"),
            "must have two concurrencies at least: goodput is searched for between the lowest and "
            "the highest, such as [1, 64]",
            shown(levels),
        )
