"""Numbers, times and states as people read them, for templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from tuning import formatting
from tuning.domain.metrics import METRICS
from tuning.domain.names import FlagValue
from tuning.domain.verdict import Finding, GainVerdict
from tuning.models import Experiment

register = template.Library()

NOTHING = "\N{EN DASH}"
_METRIC_NAMES = re.compile(rf"\b(?:{'|'.join(METRICS)})\b")


@register.filter
def badge(status: str) -> SafeString:
    """A task's or an experiment's state, in words and in colour."""
    return format_html('<span class="badge badge-{}">{}</span>', status, status.capitalize())


@register.filter
def duration(seconds: float | None) -> str:
    return NOTHING if seconds is None else formatting.duration(seconds)


@register.filter
def metric(value: float | None, name: str) -> str:
    """`{{ value|metric:"ttft_p99_s" }}`: with its unit."""
    return NOTHING if value is None else formatting.metric(name, value)


@register.filter
def label(name: str) -> str:
    """`{{ "ttft_p99_s"|label }}`: what a metric is called, `TTFT p99`."""
    return formatting.metric_label(name)


@register.filter
def significant(value: float | None) -> str:
    return NOTHING if value is None else formatting.significant(value)


@register.filter
def gain(value: float | None) -> str:
    """A ratio as a signed percentage, `+25 %`."""
    return NOTHING if value is None else f"{value * 100:+.0f} %"


@register.filter
def verdict(found: GainVerdict) -> str:
    return _kept_together(formatting.verdict(found))


@register.filter
def verdict_against(found: GainVerdict) -> str:
    return formatting.verdict_against(found)


@register.filter
def verdict_sentence(found: GainVerdict) -> str:
    return _kept_together(formatting.verdict_sentence(found))


def _kept_together(text: str) -> str:
    """No line begins with a sign of per cent, and none ends with `95 %`."""
    return text.replace(" % CI ", "\u00a0%\u00a0CI\u00a0").replace(" %", "\u00a0%")


@register.filter
def failure_name(kind: str) -> str:
    """`out_of_memory` as people say it."""
    return kind.replace("_", " ").replace("slo", "SLO").replace("gpu", "GPU")


@register.filter
def metrics_by_label(sentence: str) -> str:
    """A sentence of the log with each metric called as it is in headings."""
    return _METRIC_NAMES.sub(lambda found: formatting.metric_label(found[0]), sentence)


@register.filter
def brief_verdict(found: GainVerdict) -> SafeString:
    """Coloured, and in full on hovering."""
    return format_html(
        '<span class="{}" title="{}">{}</span>',
        verdict_tone(found),
        formatting.verdict_sentence(found),
        formatting.brief_verdict(found),
    )


@register.filter
def verdict_tone(found: GainVerdict) -> str:
    """The class of its colour. A gain that nothing supports yet has the colour of its sign."""
    match found.finding:
        case Finding.BETTER:
            return "good"
        case Finding.WORSE:
            return "bad"
        case Finding.UNSTABLE:
            return "warn"
        case Finding.NOT_VERIFIED if found.gain:
            return "good" if found.gain > 0 else "bad"
        case _:
            return "muted"


@register.filter
def failed_requests(experiment: Experiment) -> SafeString | str:
    """The mark beside a value that was measured while requests failed; else nothing."""
    text = formatting.failed_requests(experiment.num_failed_requests, experiment.num_requests)
    if not text:
        return ""
    return format_html(
        '<span class="warn nowrap" title="{}"><span aria-hidden="true">⚠ </span>{} failed</span>',
        text,
        f"{experiment.num_failed_requests:,}",
    )


@register.filter
def flag(value: FlagValue | None) -> str:
    return formatting.flag_value(value)


@register.filter
def flags(parameters: Mapping[str, FlagValue]) -> str:
    return formatting.flags(parameters)


@register.filter
def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """How long ago, to the largest unit; the exact time on hovering."""
    if moment is None:
        return NOTHING
    seconds = (timezone.now() - moment).total_seconds()
    words = "just now" if seconds < 60 else f"{timesince(moment, depth=1)} ago"
    stamp = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), stamp, words)


@register.filter
def item(mapping: Mapping[str, Any], key: str) -> Any:
    """`{{ row.metrics|item:name }}`: what a key holds, or None."""
    return mapping.get(key)
