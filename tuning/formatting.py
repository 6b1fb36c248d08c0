"""Numbers and flags as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from tuning.domain.metrics import METRICS, Direction
from tuning.domain.names import FlagValue
from tuning.domain.objectives import Objective

_FAMILY_LABELS = {
    "ttft": "TTFT",
    "tpot": "TPOT",
    "e2e_latency": "E2E latency",
    "output_latency": "output latency",
}


def metric_label(name: str) -> str:
    """What a metric is called in headings, without its unit: `TTFT p99`, `output throughput`."""
    for family, label in _FAMILY_LABELS.items():
        if name.startswith(f"{family}_"):
            return f"{label} {name.removeprefix(f'{family}_').removesuffix('_s')}"
    if name == "requests_per_s":
        return "request rate"
    if name == "goodput_requests_per_s":
        return "goodput"
    return name.removesuffix("_tokens_per_s").replace("_", " ")


def duration(seconds: float) -> str:
    """`4 s`, `1:05`, `2:03:04`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def metric(name: str, value: float | None) -> str:
    """A metric's value with its unit; times below a second in milliseconds."""
    if value is None:
        return "-"
    unit = METRICS[name].unit
    if unit == "s" and abs(value) < 1:
        return f"{significant(value * 1000)} ms"
    return f"{significant(value)} {unit}".rstrip()


def significant(value: float) -> str:
    """Three significant digits, and never an exponent where a person reads it."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def flags(parameters: Mapping[str, FlagValue]) -> str:
    """`threads=2 parallel=8`; the engine's defaults when there are none."""
    if not parameters:
        return "engine defaults"
    return " ".join(f"{name}={flag_value(value)}" for name, value in parameters.items())


def flag_value(value: FlagValue | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def gain(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 100:+.0f} % over the baseline"


def comparison(objective: Objective, best: float, baseline: float) -> str:
    """`3.1 times the baseline's 25 tokens/s`, or a difference where a ratio says too little."""
    baseline_text = metric(objective.metric, baseline)
    if baseline <= 0 or best <= 0:
        return f"against the baseline's {baseline_text}"
    ratio = best / baseline if objective.direction is Direction.MAXIMIZE else baseline / best
    return f"{ratio:.2f} times as good as the baseline's {baseline_text}"
