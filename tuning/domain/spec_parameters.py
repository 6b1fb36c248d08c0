"""The `parameters` section of a task file: the forms in which a flag's values may be declared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, Strict, StrictBool, ValidationError, ValidationInfo, field_validator

from tuning.domain.parameters import (
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    Parameter,
    flag_name,
)
from tuning.domain.spec_errors import (
    InvalidSection,
    Problem,
    Section,
    problems_of,
    shown,
)

MAX_PARAMETERS = 100
_MOST_STEPS = 10**15

_FLAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([.-][A-Za-z0-9]+)*")

Bound = TypeVar("Bound", int, float)

Integer = Annotated[int, Strict(), Field(ge=-(2**63), le=2**63 - 1)]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class _Form(Section):
    """An object that declares the values of one flag; `type` tells which."""

    def parameter(self) -> Parameter:
        raise NotImplementedError


class ChoiceForm(_Form):
    """The older form of a list of values."""

    type: Literal["choice", "choices", "categorical"] = Field(description='"choice".')
    values: list[Any] = Field(
        description="The values, in the order in which they are tried.", examples=[[1, 2]]
    )

    @field_validator("values")
    @classmethod
    def _different_values(cls, values: list[Any]) -> list[Any]:
        _check_choices(values)
        return values

    def parameter(self) -> Parameter:
        return Choices(tuple(self.values))


class IntRangeForm(_Form):
    """Whole numbers from `low` to `high`."""

    type: Literal["int", "integer"] = Field(description='"int" for whole numbers.')
    low: Integer = Field(description="Smallest value.", examples=[1])
    high: Integer = Field(description="Largest value.", examples=[8])
    step: Annotated[Integer, Field(ge=1)] | None = Field(
        default=None,
        description="Distance between two values; 1 when left out, doubling with `log`.",
        examples=[2],
    )
    log: StrictBool = Field(
        default=False,
        description="Small differences matter among small values: without a step the values go by "
        "doubling from `low`, with one random search favours small values.",
    )

    @field_validator("high")
    @classmethod
    def _above_low(cls, high: int, info: ValidationInfo) -> int:
        return _not_below_low(high, info)

    @field_validator("log")
    @classmethod
    def _doubles_from_one(cls, log: bool, info: ValidationInfo) -> bool:
        if log and info.data.get("low", 1) < 1:
            raise ValueError("needs a low of at least 1")
        return log

    def parameter(self) -> Parameter:
        return IntRange(self.low, self.high, self.step, self.log)


class FloatRangeForm(_Form):
    """Numbers from `low` to `high`."""

    type: Literal["float", "continuous"] = Field(description='"float" for any numbers.')
    low: Number = Field(description="Smallest value.", examples=[0.7])
    high: Number = Field(description="Largest value.", examples=[0.9])
    step: Annotated[Number, Field(gt=0)] | None = Field(
        default=None,
        description="Distance between two values; without it the range is continuous, and only "
        "random search can be used.",
        examples=[0.05],
    )
    log: StrictBool = Field(
        default=False, description="Random search favours small values; needs `low` above 0."
    )

    @field_validator("high")
    @classmethod
    def _above_low(cls, high: float, info: ValidationInfo) -> float:
        return _not_below_low(high, info)

    @field_validator("step")
    @classmethod
    def _countable(cls, step: float | None, info: ValidationInfo) -> float | None:
        if step is not None and {"low", "high"} <= info.data.keys():
            width = info.data["high"] - info.data["low"]
            if width / step > _MOST_STEPS:
                raise ValueError(f"is too small for this range: more than {_MOST_STEPS:.0e} values")
        return step

    @field_validator("log")
    @classmethod
    def _above_zero(cls, log: bool, info: ValidationInfo) -> bool:
        if log and info.data.get("low", 1.0) <= 0:
            raise ValueError("needs a low above 0")
        return log

    def parameter(self) -> Parameter:
        return FloatRange(self.low, self.high, self.step, self.log)


_FORMS: Mapping[str, type[_Form]] = {
    **dict.fromkeys(("choice", "choices", "categorical"), ChoiceForm),
    **dict.fromkeys(("int", "integer"), IntRangeForm),
    **dict.fromkeys(("float", "continuous"), FloatRangeForm),
}


@dataclass(frozen=True)
class Declaration:
    """One entry of the section: `key` as it is written, `name` as it is read.

    `parameter` is None exactly when there are problems.
    """

    key: str
    name: str
    parameter: Parameter | None
    problems: tuple[Problem, ...]


def read_parameters(raw: object) -> dict[str, Parameter]:
    """The declared parameters in the order of the file, under their normalised names.

    Raises:
        InvalidSection: with all that is wrong in the section.
    """
    if not isinstance(raw, Mapping):
        raise InvalidSection([Problem((), "must be an object, in braces", shown(raw))])
    declarations = list(declarations_in(raw))
    problems = [problem for entry in declarations for problem in entry.problems]
    if len(declarations) > MAX_PARAMETERS:
        problems.append(Problem((), f"must have at most {MAX_PARAMETERS} parameters"))
    if problems:
        raise InvalidSection(problems)
    return {entry.name: entry.parameter for entry in declarations if entry.parameter is not None}


def declarations_in(raw: Mapping[str, object]) -> Iterator[Declaration]:
    """Every entry of the section, whether it can be used or not."""
    spelt: dict[str, str] = {}
    for key, value in raw.items():
        name = flag_name(key)
        parameter: Parameter | None = None
        problems: tuple[Problem, ...] = ()
        try:
            _check_name(key, name, spelt)
            parameter = _read_parameter(value)
        except InvalidSection as error:
            problems = tuple(problem.below(key) for problem in error.problems)
        spelt.setdefault(name, key)
        yield Declaration(key, name, parameter, problems)


def write_parameters(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The section in its normalised form, which `read_parameters` reads back as it was."""
    return {name: _write_parameter(parameter) for name, parameter in parameters.items()}


def _write_parameter(parameter: Parameter) -> Any:
    match parameter:
        case Fixed(value):
            return value
        case Choices(options):
            return list(options)
        case IntRange() | FloatRange():
            kind = "int" if isinstance(parameter, IntRange) else "float"
            written = {"type": kind, "low": parameter.low, "high": parameter.high}
            return written | {"step": parameter.step, "log": parameter.log}


def _check_name(key: str, name: str, spelt: Mapping[str, str]) -> None:
    if not _FLAG_NAME.fullmatch(name):
        message = 'is not the name of a flag; write it without leading dashes, such as "tp-size"'
        raise InvalidSection([Problem((), message)])
    if name in spelt:
        raise InvalidSection([Problem((), f'is the same flag as "{spelt[name]}"; keep one')])


def _read_parameter(raw: object) -> Parameter:
    """One flag's values. What can take a single value only is fixed, however it was written."""
    parameter = _declared(raw)
    if parameter.cardinality == 1:
        return Fixed(next(parameter.values()))
    return parameter


def _declared(raw: object) -> Parameter:
    match raw:
        case bool() | int() | float() | str():
            return Fixed(raw)
        case list() | tuple():
            _check_choices(raw)
            return Choices(tuple(raw))
        case Mapping():
            return _read_form(dict(raw))
        case _:
            message = 'must be a value, a list of values, or a range such as {"type": "int", ...}'
            raise InvalidSection([Problem((), message, shown(raw))])


def _read_form(raw: dict[str, Any]) -> Parameter:
    kind = raw.get("type")
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        value = shown(kind) if "type" in raw else None
        raise InvalidSection([Problem(("type",), 'must be "choice", "int" or "float"', value)])
    try:
        return form.model_validate(raw).parameter()
    except ValidationError as error:
        raise InvalidSection(problems_of(error, form)) from None


def _check_choices(values: Sequence[object]) -> None:
    problems = [] if values else [Problem((), "must have at least one value", "[]")]
    places: dict[tuple[type, object], int] = {}
    for index, value in enumerate(values):
        if not isinstance(value, bool | int | float | str):
            message = "must be a number, a text, true or false"
            problems.append(Problem((index,), message, shown(value)))
            continue
        # Told apart by type as well, as `same_value` does; a lookup, because a list may be long.
        first = places.setdefault((type(value), value), index)
        if first != index:
            message = f"is the same value as [{first}]; keep one"
            problems.append(Problem((index,), message, shown(value)))
    if problems:
        raise InvalidSection(problems)


def _not_below_low(high: Bound, info: ValidationInfo) -> Bound:
    low = info.data.get("low")
    if low is not None and high < low:
        raise ValueError(f"must not be less than low, which is {shown(low)}")
    return high
