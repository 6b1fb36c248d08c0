"""Numbers and flags as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from tuning.domain.metrics import METRICS, Direction
from tuning.domain.names import FlagValue
from tuning.domain.objectives import Objective
from tuning.domain.verdict import Finding, GainVerdict, Reference

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
    for unit in ("_tokens_per_s", "_j", "_w", "_mib", "_percent"):
        name = name.removesuffix(unit)
    return name.replace("_", " ").replace("gpu", "GPU")


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


def percent(share: float, *, sign: bool = False) -> str:
    """Without its sign of per cent, for intervals: `23`, `3.4`, `+0.0`."""
    digits = 0 if abs(share) >= 0.0995 else 1
    return f"{share * 100:{'+' if sign else ''}.{digits}f}"


def verdict(found: GainVerdict) -> str:
    """The whole finding, but for what it is against: `no difference (95 % CI -2.0 to +3.1 %, 3
    rounds)`."""
    text = _finding(found)
    if found.reason and found.finding is not Finding.UNSTABLE:
        text = f"{text}; {found.reason}"
    if found.failed_requests:
        text = f"{text}; {_failed(found)}"
    return text


def verdict_against(found: GainVerdict) -> str:
    """What the winner is compared with: `the baseline`, `experiment 4, the runner-up`."""
    if found.against is Reference.BASELINE:
        return "the baseline"
    return f"experiment {found.against_number}, the runner-up"


def verdict_sentence(found: GainVerdict) -> str:
    """`Measured again in turn with the baseline, experiment 7 is better by …`"""
    if found.finding is Finding.NOT_VERIFIED:
        failed = f" {_failed(found)}." if found.failed_requests else ""
        reason = f": {found.reason}" if found.reason else " yet"
        return f"The gain is not verified{reason}.{failed}"
    about = "shows" if found.finding is Finding.NO_DIFFERENCE else "is"
    return (
        f"Measured again in turn with {verdict_against(found)}, experiment {found.number} "
        f"{about} {verdict(found)}."
    )


def brief_verdict(found: GainVerdict) -> str:
    """For a cell of a table: `+23 % (18 to 29)`, `no difference`, `+23 %, not verified`."""
    if found.finding in {Finding.BETTER, Finding.WORSE} and found.gain is not None:
        low, high = percent(found.low or 0.0), percent(found.high or 0.0)
        text = f"{percent(found.gain, sign=True)} % ({low} to {high})"
    elif found.finding is Finding.NOT_VERIFIED:
        gained = "" if found.gain is None else f"{found.gain * 100:+.0f} %, "
        text = f"{gained}not verified"
    else:
        text = found.finding.value.replace("_", " ")
    if found.against is Reference.RUNNER_UP:
        text = f"{text}, over the runner-up"
    return f"{text}, {found.failed_requests} failed" if found.failed_requests else text


def failed_requests(failed: int, requests: int) -> str:
    """The mark beside the value of an experiment, empty where none failed."""
    return f"{failed:,} of {requests:,} requests failed" if failed else ""


def _failed(found: GainVerdict) -> str:
    return f"{found.failed_requests:,} of the winner's requests failed"


def _finding(found: GainVerdict) -> str:
    gained, low, high = found.gain or 0.0, found.low or 0.0, found.high or 0.0
    match found.finding:
        case Finding.BETTER:
            interval = f"95 % CI {percent(low)}\N{EN DASH}{percent(high)} %"
            return f"better by {percent(gained)} % ({interval}, {found.rounds} rounds)"
        case Finding.WORSE:
            interval = f"95 % CI {percent(-high)}\N{EN DASH}{percent(-low)} %"
            return f"worse by {percent(-gained)} % ({interval}, {found.rounds} rounds)"
        case Finding.NO_DIFFERENCE:
            bounds = f"{percent(low, sign=True)} to {percent(high, sign=True)} %"
            return f"no difference (95 % CI {bounds}, {found.rounds} rounds)"
        case Finding.UNSTABLE:
            return f"unstable: {found.reason}"
        case Finding.NOT_VERIFIED:
            measured = "" if found.gain is None else f"{gained * 100:+.0f} %, "
            return f"{measured}not verified"
