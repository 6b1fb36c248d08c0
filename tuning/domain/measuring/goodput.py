"""Finding the highest concurrency that keeps the limits, with few probes.

The limits hold up to some concurrency and break beyond it. Between the highest probe that kept
them and the lowest that broke them, the next one is in the middle (bisection), until the two are
neighbours or within 5 %. The middle is that of a scale on which one step is one client up to 20
clients, and 5 % beyond: a range from 1 to 1,000 has 100 steps and takes 7 or 8 probes. Where
another configuration has shown about where to look, the search begins there and goes outwards in
steps that double, until it has the edge between two probes (Bentley and Yao's unbounded search,
1976).

A probe so close to a limit that noise could have decided is repeated, as far as probes are left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tuning.domain.goodput import worst_excess
from tuning.domain.slo import Slo

MOST_PROBES = 10
PRECISION = 0.05
FIRST_STEPS = 4.0
"""How far the first step away from a hint goes: 22 % beyond 20 clients."""

_LINEAR_UP_TO = 1 / PRECISION


@dataclass(frozen=True)
class Probe:
    """One measurement at a concurrency; `excess` is that of `worst_excess`."""

    concurrency: int
    excess: float


@dataclass(frozen=True)
class Edge:
    """What is known: `good` keeps the limits and `bad` breaks them; None where none does yet."""

    good: int | None
    bad: int | None


def probes_of(
    measured: Sequence[tuple[int, Mapping[str, float]]], slos: Sequence[Slo]
) -> list[Probe]:
    """Of (concurrency, metrics), in the order of measuring."""
    return [Probe(concurrency, worst_excess(metrics, slos)) for concurrency, metrics in measured]


def edge_of(probes: Sequence[Probe]) -> Edge:
    """Where the limits begin to break. Of several probes at one concurrency the median decides; a
    concurrency that kept them beyond one that broke them was lucky."""
    excess = _excesses(probes)
    bad = min((level for level, one in excess.items() if one > 0), default=None)
    good = [level for level, one in excess.items() if one <= 0 and (bad is None or level < bad)]
    return Edge(max(good, default=None), bad)


def next_probe(
    probes: Sequence[Probe], lowest: int, highest: int, noise_cv: float, hint: int | None = None
) -> int | None:
    """The concurrency to measure next, from `lowest` to `highest`; None once it is found, or once
    no probe is left.

    `noise_cv` is the coefficient of variation of what is limited. `hint` is where another
    configuration had its edge.
    """
    if len(probes) >= MOST_PROBES:
        return None
    edge = edge_of(probes)
    doubtful = _doubtful(probes, edge, noise_cv)
    if doubtful is not None and _halvings(*_ends(edge, lowest, highest)) < MOST_PROBES - len(
        probes
    ):
        return doubtful
    if _is_found(edge, lowest, highest):
        return None
    below, above = _ends(edge, lowest, highest)
    left = MOST_PROBES - len(probes) - 1
    wanted = (below + above) / 2
    if hint is not None and (edge.good is None or edge.bad is None):
        outwards = min(max(_outwards(probes, edge, hint), below), above)
        # A hint that misleads must not cost the precision.
        if max(_halvings(below, outwards), _halvings(outwards, above)) <= left:
            wanted = outwards
    nearest = round(_level(wanted))
    return min(max(nearest, (edge.good or lowest - 1) + 1), (edge.bad or highest + 1) - 1)


def _ends(edge: Edge, lowest: int, highest: int) -> tuple[float, float]:
    """Between which steps of the scale the edge is. Outside of the range nothing was probed."""
    below = _step(edge.good) if edge.good is not None else _step(lowest) - 1
    above = _step(edge.bad) if edge.bad is not None else _step(highest) + 1
    return below, above


def _step(level: float) -> float:
    """Where a concurrency is on the scale of `FIRST_STEPS`, on which the search halves."""
    if level <= _LINEAR_UP_TO:
        return level
    return _LINEAR_UP_TO + math.log(level / _LINEAR_UP_TO) / math.log1p(PRECISION)


def _level(step: float) -> float:
    """The concurrency at a step: the inverse of `_step`."""
    if step <= _LINEAR_UP_TO:
        return step
    return _LINEAR_UP_TO * math.exp((step - _LINEAR_UP_TO) * math.log1p(PRECISION))


def _is_found(edge: Edge, lowest: int, highest: int) -> bool:
    if edge.bad is None:
        return edge.good == highest
    if edge.good is None:
        return edge.bad == lowest
    return edge.bad - edge.good <= 1 or edge.bad / edge.good <= 1 + PRECISION


def _outwards(probes: Sequence[Probe], edge: Edge, hint: int) -> float:
    """The step of the hint; then 4, 8, 16 … steps further each time."""
    if edge.good is None and edge.bad is None:
        return _step(hint)
    tried = len({probe.concurrency for probe in probes})
    further = FIRST_STEPS * 2.0 ** (tried - 1)
    if edge.good is not None:
        return _step(edge.good) + further
    return _step(edge.bad or hint) - further


def _halvings(below: float, above: float) -> int:
    """How many probes bisection still takes between two steps, at most."""
    return math.ceil(math.log2(above - below)) if above - below > 1 else 0


def _doubtful(probes: Sequence[Probe], edge: Edge, noise_cv: float) -> int | None:
    """One end of the edge that was probed once, and so close that noise could have decided."""
    excess = _excesses(probes)
    once = [level for level in excess if sum(one.concurrency == level for one in probes) == 1]
    ends = [level for level in (edge.good, edge.bad) if level in once]
    close = [level for level in ends if level is not None and abs(excess[level]) <= noise_cv]
    return min(close, key=lambda level: abs(excess[level]), default=None)


def _excesses(probes: Sequence[Probe]) -> dict[int, float]:
    levels = sorted({probe.concurrency for probe in probes})
    return {
        level: median(one.excess for one in probes if one.concurrency == level) for level in levels
    }
