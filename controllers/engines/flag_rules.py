"""Rules between the flags of one engine, in the words of a task's own constraints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controllers.engines.known_flag import FlagType, KnownFlag
from tuning.domain.constraints import Constraint, Kind, Kinds, parse_constraint
from tuning.domain.names import FlagValue

GPUS = "gpus"
"""What a rule calls the number of GPUs that there are."""

_NUMBER: Kinds = frozenset({Kind.NUMBER})
_TEXT: Kinds = frozenset({Kind.TEXT})


@dataclass(frozen=True)
class FlagProblem:
    """Why an engine would not start with these flags, or not do what they say.

    `flags` are written as in the configuration, and `value` is that of the flag where there is
    only one. `rule` is the broken rule, None for a value that its flag does not take. `message` is
    a whole sentence.
    """

    flags: tuple[str, ...]
    value: FlagValue | None
    message: str
    rule: str | None = None


@dataclass(frozen=True)
class FlagRule:
    """A condition that the engine sets between its flags.

    `why` is a clause that tells a user what happens otherwise; `source` is where the engine says
    so.
    """

    constraint: Constraint
    why: str
    source: str

    @property
    def text(self) -> str:
        return self.constraint.text


def read_rule(text: str, why: str, source: str, flags: Mapping[str, KnownFlag]) -> FlagRule:
    """A rule over `flags` and the number of GPUs.

    Raises:
        ConstraintError: it is no condition, or speaks of a flag that is not there.
    """
    kinds = {name: _kinds(flag) for name, flag in flags.items()}
    return FlagRule(parse_constraint(text, {**kinds, GPUS: _NUMBER}), why, source)


def broken_rules(
    rules: Iterable[FlagRule],
    flags: Mapping[str, KnownFlag],
    set_to: Mapping[str, FlagValue | None],
    written: Mapping[str, str],
    gpus: int | None,
) -> Iterator[FlagProblem]:
    """The rules that a configuration breaks.

    `set_to` has what `KnownFlag.computed` makes of the flags that are set, None for what can't be
    computed with; `written` is how they are spelled. A flag that is left out counts with its
    default where that is one value; a rule of which something remains unknown is not applied.
    """
    values = {name: flag.definite_default for name, flag in flags.items()} | dict(set_to)
    known = {name: value for name, value in values.items() if value is not None}
    if gpus is not None:
        known[GPUS] = gpus
    for rule in rules:
        involved = [name for name in rule.constraint.names if name in set_to]
        if involved and not rule.constraint.is_satisfied_by(known):
            yield FlagProblem(
                flags=tuple(written[name] for name in involved),
                value=set_to[involved[0]] if len(involved) == 1 else None,
                message=f"`{rule.text}` does not hold for {_said(rule, known)}: {rule.why} "
                f"({rule.source}).",
                rule=rule.text,
            )


def _said(rule: FlagRule, known: Mapping[str, FlagValue]) -> str:
    """The values that a rule looks at, such as `tp-size 3, dp-size 2`."""
    values = {name: known[name] for name in rule.constraint.names}
    return ", ".join(
        f"{name} {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in values.items()
    )


def _kinds(flag: KnownFlag) -> Kinds:
    return _TEXT if flag.type in (FlagType.CHOICE, FlagType.TEXT) else _NUMBER
