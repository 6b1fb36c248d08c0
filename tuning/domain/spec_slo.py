"""The `slo` section of a task file: limits on metrics, in the present form and in the older one.

Present form: `{"ttft_p99_s": 0.5}`, `{"ttft": {"p99": {"max": 0.5, "hard": false}}}`.
Older form: `{"latency": {"p90": {"threshold": 5.0}}, "ttft": {"threshold": 1.0}}`. Both may stand
in one file; each entry shows by its shape which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field, StrictBool, ValidationError

from tuning.domain.metrics import (
    ERROR_RATE,
    LATENCY_FAMILIES,
    LATENCY_STATISTICS,
    METRICS,
    Direction,
    latency_name,
)
from tuning.domain.slo import DEFAULT_STEEPNESS, DEFAULT_WEIGHT, Slo
from tuning.domain.spec_errors import (
    InvalidSection,
    Location,
    Problem,
    Section,
    not_a_number,
    problems_of,
    shown,
    unknown_key,
    unknown_metric,
)
from tuning.domain.spec_parameters import Number

Form = TypeVar("Form", bound=Section)

OLDER_FAMILY = "latency"
OLDER_STATISTICS = ("p50", "p90", "p99")
STEEPNESS = "steepness"

Weight = Annotated[Number, Field(ge=0, le=1e6)]
Steepness = Annotated[Number, Field(ge=1e-6, le=1e6)]


class LimitForm(Section):
    """A limit on one metric."""

    max: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="Largest value allowed, in the metric's unit.", examples=[0.5]
    )
    min: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="Smallest value allowed, in the metric's unit.", examples=[100]
    )
    hard: StrictBool = Field(
        default=True,
        description="Breaking it makes the configuration infeasible. A soft limit adds a penalty.",
    )
    weight: Weight = Field(default=DEFAULT_WEIGHT, description="Factor of the penalty.")
    fail_ratio: Annotated[Number, Field(ge=0)] = Field(
        default=0.0,
        description="How far a hard limit may be broken before the configuration is infeasible, "
        "relative to the limit.",
    )
    steepness: Steepness | None = Field(
        default=None, description="How fast the penalty grows (small is fast)."
    )


class OlderLimitForm(Section):
    """The older form of an upper limit."""

    threshold: Annotated[Number, Field(gt=0)] = Field(
        description="Largest value allowed, in seconds.", examples=[2.0]
    )
    weight: Weight = Field(default=DEFAULT_WEIGHT, description="Factor of the penalty.")
    hard_fail: StrictBool = Field(
        default=False,
        description="Broken by `fail_ratio` or more, the limit makes the configuration infeasible.",
    )
    fail_ratio: Annotated[Number, Field(ge=0)] = Field(
        default=0.5, description="See `hard_fail`; relative to the threshold."
    )


class SteepnessForm(Section):
    """What the section has beside its limits."""

    steepness: Steepness = Field(
        default=DEFAULT_STEEPNESS,
        description="How fast penalties grow (small is fast), for limits that do not say.",
    )


def read_slos(raw: object) -> tuple[Slo, ...]:
    """All limits of the section, in the order of the file; none where it is null.

    Raises:
        InvalidSection: with all that is wrong in the section.
    """
    if raw is None:
        return ()
    if not isinstance(raw, Mapping):
        raise InvalidSection([Problem((), "must be an object, in braces", shown(raw))])
    reader = _Reader()
    reader.read(raw)
    if reader.problems:
        raise InvalidSection(reader.problems)
    return tuple(reader.slos.values())


def write_slos(slos: tuple[Slo, ...]) -> dict[str, Any]:
    """The section in its normalised form, which `read_slos` reads back as it was."""
    return {
        slo.metric: {
            "max": slo.max,
            "min": slo.min,
            "hard": slo.hard,
            "weight": slo.weight,
            "fail_ratio": slo.fail_ratio,
            "steepness": slo.steepness,
        }
        for slo in slos
    }


class _Reader:
    """Reads one section, gathering limits and problems."""

    def __init__(self) -> None:
        self.slos: dict[str, Slo] = {}
        self.problems: list[Problem] = []
        self._steepness = DEFAULT_STEEPNESS

    def read(self, section: Mapping[str, object]) -> None:
        if STEEPNESS in section:
            form = self._form(SteepnessForm, {STEEPNESS: section[STEEPNESS]}, ())
            self._steepness = form.steepness if form else DEFAULT_STEEPNESS
        for key, value in section.items():
            if key in METRICS:
                self._limit(key, value, (key,))
            elif key == OLDER_FAMILY or key in LATENCY_FAMILIES:
                self._family(key, value)
            elif key != STEEPNESS:
                known = (*METRICS, *LATENCY_FAMILIES, OLDER_FAMILY, STEEPNESS)
                self._problem((key,), unknown_metric(key, known))

    def _family(self, family: str, value: object) -> None:
        if not isinstance(value, Mapping):
            example = f'{{"p99": {shown(value)}}}'
            self._problem(
                (family,), f"must say which statistic it limits, such as {example}", value
            )
        elif "threshold" in value and family != OLDER_FAMILY:
            self._older_limit(latency_name(family, "mean"), value, (family,))
        else:
            for statistic, limit in value.items():
                self._statistic(family, statistic, limit)

    def _statistic(self, family: str, statistic: str, limit: object) -> None:
        place = (family, statistic)
        if family == OLDER_FAMILY and statistic in OLDER_STATISTICS:
            self._older_limit(latency_name("e2e_latency", statistic), limit, place)
        elif family != OLDER_FAMILY and statistic in LATENCY_STATISTICS:
            self._limit(latency_name(family, statistic), limit, place)
        else:
            known = OLDER_STATISTICS if family == OLDER_FAMILY else LATENCY_STATISTICS
            self._problem(place, unknown_key(statistic, known))

    def _limit(self, metric: str, value: object, place: Location) -> None:
        limit = value if isinstance(value, Mapping) else self._by_nature(metric, value, place)
        form = None if limit is None else self._form(LimitForm, limit, place)
        if form is None:
            return
        if form.max is None and form.min is None:
            self._problem(place, 'must have a "max", a "min" or both', value)
        elif form.max is not None and form.min is not None and form.max < form.min:
            self._problem((*place, "max"), "must not be less than min", form.max)
        elif metric == ERROR_RATE and max(form.max or 0.0, form.min or 0.0) > 1:
            self._problem(place, "must be a share from 0 to 1; 0.01 is one request of 100", value)
        else:
            fields = form.model_dump(exclude={STEEPNESS})
            self._add(Slo(metric, **fields, steepness=form.steepness or self._steepness), place)

    def _by_nature(
        self, metric: str, value: object, place: Location
    ) -> Mapping[str, object] | None:
        """A bare number limits a metric from the side on which it gets worse."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            message = f'{not_a_number(value, "a number")}, or an object such as {{"max": 0.5}}'
            self._problem(place, message, value)
            return None
        direction = METRICS[metric].direction
        if direction is None:
            self._problem(place, 'must say "max" or "min": neither is better in itself', value)
            return None
        return {"max" if direction is Direction.MINIMIZE else "min": value}

    def _older_limit(self, metric: str, value: object, place: Location) -> None:
        form = self._form(OlderLimitForm, value, place)
        if form is not None:
            slo = Slo(
                metric,
                max=form.threshold,
                hard=form.hard_fail,
                weight=form.weight,
                fail_ratio=form.fail_ratio,
                steepness=self._steepness,
            )
            self._add(slo, place)

    def _add(self, slo: Slo, place: Location) -> None:
        if slo.metric in self.slos:
            self._problem(place, f"limits {slo.metric} a second time; keep one")
        else:
            self.slos[slo.metric] = slo

    def _form(self, form: type[Form], value: object, place: Location) -> Form | None:
        try:
            return form.model_validate(value)
        except ValidationError as error:
            found = problems_of(error, form)
            self.problems.extend(problem.below(*place) for problem in found)
            return None

    def _problem(self, place: Location, message: str, *value: object) -> None:
        """Note a problem, with the value that stands there when there is one."""
        self.problems.append(Problem(place, message, shown(value[0]) if value else None))
