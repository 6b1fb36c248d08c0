"""How likely an earlier task has anything to tell a new one. docs/TASK_FILE.md has the formula.

What is carried over is which flags help and how much, not how fast anything is: engines with the
same flags behave alike on models, hardware and traffic that are alike. The factors are a judgement
and no measurement; what they multiply to is only where the search's belief starts from, and the
first measurements of the new task confirm or refute it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from tuning.domain.goodput import GOODPUT_METRICS, own_limits
from tuning.domain.model_names import model_similarity
from tuning.domain.slo import Slo
from tuning.domain.spec import TaskSpec
from tuning.domain.spec_sections import BenchmarkSpec
from tuning.domain.traffic import mean_tokens

Item = TypeVar("Item")

MOST_CERTAIN = 0.9
"""Even of the very same task: versions of the engine change, and what else runs beside it."""

TWICE_THE_LOAD = 0.85
"""For each doubling of input tokens, output tokens, or concurrency."""
OTHER_PENALTIES = 0.7
"""Where soft limits differ, what was measured is compared without any penalties."""

SOMEWHERE_IN_A_CLUSTER = 0.9
"""Of the same namespace: the cluster chooses nodes by itself."""
OTHER_HOST = 0.8
UNKNOWN_HARDWARE = 0.6
TWICE_THE_HARDWARE = 0.85
"""For each doubling of a card's memory, or of cores and memory of hosts without cards."""
GPUS_AGAINST_NONE = 0.3


@dataclass(frozen=True)
class Hardware:
    """What experiments ran on, or will run on, as far as anybody knows.

    `hosts` are host names, or namespaces where a cluster chooses the hosts. `card_mib` is the
    memory of the largest card, in MiB, as is `memory_mib` of the host.
    """

    hosts: frozenset[str] = frozenset()
    in_cluster: bool = False
    has_cards: bool | None = None
    card_mib: float | None = None
    cpu_count: int | None = None
    memory_mib: float | None = None


def obstacle(spec: TaskSpec, earlier: TaskSpec) -> str | None:
    """Why nothing that an earlier task measured can be compared, as the end of a sentence.

    None where it can, as far as the task files tell.
    """
    if spec.base_runtime is not earlier.base_runtime:
        return f"tuned {earlier.base_runtime}, and this task tunes {spec.base_runtime}"
    known = {one.metric: one.direction for one in earlier.objectives}
    for one in spec.objectives:
        if known.get(one.metric) is not one.direction:
            theirs = ", ".join(f"{other.direction} {other.metric}" for other in earlier.objectives)
            return f"was judged by other objectives ({theirs}) than {one.direction} {one.metric}"
        if one.metric in GOODPUT_METRICS and _limits(spec) != _limits(earlier):
            return "measured its goodput within other limits of slo"
    earlier_flags = earlier.space().tuned
    if not set(spec.space().tuned) & set(earlier_flags):
        return f"tuned none of this task's flags, but {', '.join(earlier_flags) or 'nothing'}"
    return None


def similarity(
    spec: TaskSpec, earlier: TaskSpec, hardware: Hardware, earlier_hardware: Hardware
) -> float:
    """From 0 (exclusive) to `MOST_CERTAIN`, without what their spaces have in common."""
    return (
        MOST_CERTAIN
        * model_similarity(spec.model.id_or_path, earlier.model.id_or_path)
        * hardware_similarity(hardware, earlier_hardware)
        * traffic_similarity(spec.benchmark, earlier.benchmark)
        * (1.0 if have_same_penalties(spec, earlier) else OTHER_PENALTIES)
    )


def probabilities_of_use(similarities: Sequence[float]) -> list[float]:
    """How likely each of several earlier tasks is of any use, where they are judged together.

    Tasks that are chosen for the same reasons mislead together. Were each doubted by itself, five
    that are similar with 0.9 would leave a belief of 0.00001 that none of them is of use, and no
    measurement would undo it soon. So all doubts (1 minus similarity) are raised to one power
    with which their product is the doubt about the most similar task alone.
    """
    doubts = [math.log1p(-alike) for alike in similarities]
    power = min(doubts) / sum(doubts) if doubts else 1.0
    return [-math.expm1(power * doubt) for doubt in doubts]


def have_same_penalties(spec: TaskSpec, earlier: TaskSpec) -> bool:
    """Whether the scores of both are made worse in the same way, and so can be compared."""
    return _penalising(spec) == _penalising(earlier)


def traffic_similarity(one: BenchmarkSpec, other: BenchmarkSpec) -> float:
    """1 for the same scenarios and concurrencies, in any order."""
    tokens = [
        [mean_tokens(scenario) for scenario in each.traffic_scenarios] for each in (one, other)
    ]
    scenarios = _of_sets(tokens[0], tokens[1], _of_tokens)
    return scenarios * _of_sets(one.num_concurrency, other.num_concurrency, _of_amounts)


def hardware_similarity(one: Hardware, other: Hardware) -> float:
    """1 where both have a host in common; what is not known counts as rather unlike."""
    if one.hosts & other.hosts:
        return SOMEWHERE_IN_A_CLUSTER if one.in_cluster and other.in_cluster else 1.0
    if None not in (one.has_cards, other.has_cards) and one.has_cards is not other.has_cards:
        return GPUS_AGAINST_NONE
    if one.card_mib and other.card_mib:
        return OTHER_HOST * _ratio_similarity(one.card_mib, other.card_mib, TWICE_THE_HARDWARE)
    is_comparable = one.cpu_count and other.cpu_count and one.memory_mib and other.memory_mib
    if not is_comparable or one.has_cards or other.has_cards:
        return UNKNOWN_HARDWARE
    cores = _ratio_similarity(one.cpu_count or 1, other.cpu_count or 1, TWICE_THE_HARDWARE)
    memory = _ratio_similarity(one.memory_mib or 1, other.memory_mib or 1, TWICE_THE_HARDWARE)
    return OTHER_HOST * cores * memory


def _of_sets(
    left: Sequence[Item], right: Sequence[Item], alike: Callable[[Item, Item], float]
) -> float:
    """How well each has its like on the other side, on average over both sides."""
    there = fmean(max(alike(one, other) for other in right) for one in left)
    back = fmean(max(alike(one, other) for other in left) for one in right)
    return (there + back) / 2


def _of_tokens(one: tuple[float, float], other: tuple[float, float]) -> float:
    return _of_amounts(one[0], other[0]) * _of_amounts(one[1], other[1])


def _of_amounts(one: float, other: float) -> float:
    return _ratio_similarity(one, other, TWICE_THE_LOAD)


def _ratio_similarity(one: float, other: float, for_doubling: float) -> float:
    return float(for_doubling ** abs(math.log2(one / other)))


def _limits(spec: TaskSpec) -> set[Slo]:
    return set(own_limits(spec.slos))


def _penalising(spec: TaskSpec) -> set[Slo]:
    return {slo for slo in spec.slos if not slo.hard or slo.fail_ratio > 0}
