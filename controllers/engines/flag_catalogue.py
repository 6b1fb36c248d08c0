"""What is known of an engine's flags, read from `data/`: types, ranges, rules, and what is refused.

The data are files of their own because engines change their flags with every release. The head of
each says which versions it was written for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from controllers.engines.flag_rules import FlagProblem, FlagRule, broken_rules, read_rule
from controllers.engines.known_flag import Bounds, FlagType, KnownFlag
from tuning.domain.names import FlagValue
from tuning.domain.parameters import flag_name
from tuning.domain.spelling import nearest

DATA = Path(__file__).with_name("data")
NEGATION = "no-"
ALLOWING_SETTING = "AUTOTUNER_ALLOWED_FLAGS"
"""The setting with which an administrator allows flags that are refused otherwise."""


@dataclass(frozen=True)
class RefusedFlags:
    """Flags that a task may not set by itself, as patterns such as `ssl-*`.

    `why` ends a sentence that begins with the flag.
    """

    patterns: tuple[str, ...]
    why: str

    def covers(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def is_meant_by(self, name: str) -> bool:
        """Whether argparse may take `name` for one of them: any unambiguous beginning will do."""
        whole = (pattern for pattern in self.patterns if not pattern.endswith("*"))
        return any(flag.startswith(name) for flag in whole)


@dataclass(frozen=True)
class UnknownFlag:
    """A flag that is in no catalogue. It may be right all the same: engines have hundreds."""

    name: str
    nearest: str | None


@dataclass(frozen=True)
class FlagCatalogue:
    """The flags of one engine. `versions` and `sources` say what the data were made from."""

    engine: str
    versions: str
    sources: tuple[str, ...] = ()
    flags: Mapping[str, KnownFlag] = field(default_factory=dict)
    rules: tuple[FlagRule, ...] = ()
    refused: tuple[RefusedFlags, ...] = ()

    @cached_property
    def by_spelling(self) -> Mapping[str, KnownFlag]:
        """Every flag under its name and its aliases, each called as it is looked up."""
        return {
            spelling: replace(flag, name=spelling)
            for flag in self.flags.values()
            for spelling in (flag.name, *flag.aliases)
        }

    @cached_property
    def _name_of(self) -> Mapping[str, str]:
        return {
            spelling: flag.name
            for flag in self.flags.values()
            for spelling in (flag.name, *flag.aliases)
        }

    def find(self, written: str) -> tuple[KnownFlag, bool] | None:
        """The flag that is meant, and whether it is switched off; None for an unknown one."""
        name = flag_name(written)
        if name in self._name_of:
            return self.flags[self._name_of[name]], False
        positive = self._name_of.get(name.removeprefix(NEGATION))
        if name.startswith(NEGATION) and positive and self.flags[positive].is_negatable:
            return self.flags[positive], True
        return None

    def unknown(self, names: Iterable[str]) -> list[UnknownFlag]:
        """Those of `names` that nothing is known of, each with the known flag most like it."""
        found = []
        for written in names:
            head = flag_name(written).partition(".")[0]
            if self.find(written) is None and self.find(head) is None:
                found.append(UnknownFlag(written, nearest(flag_name(written), self._name_of)))
        return found

    def problems(
        self, parameters: Mapping[str, FlagValue], gpus: int | None = None
    ) -> list[FlagProblem]:
        """Values that a flag does not take, and rules that are broken: the engine would not start.

        `gpus` is how many there are; without it, and on a host without any, rules on their number
        are not applied.
        """
        values = []
        for spelling, value in parameters.items():
            refusal = self.value_refusal(spelling, value)
            if refusal:
                shown = str(value).lower() if isinstance(value, bool) else repr(value)
                values.append(
                    FlagProblem((spelling,), value, f"{spelling} {refusal}, not {shown}.")
                )
        return [*values, *self.broken(self.rules, parameters, gpus)]

    def broken(
        self,
        rules: Iterable[FlagRule],
        parameters: Mapping[str, FlagValue],
        gpus: int | None = None,
    ) -> list[FlagProblem]:
        """Which of `rules` the configuration breaks; values that are wrong by themselves count as
        unknown."""
        set_to: dict[str, FlagValue | None] = {}
        written: dict[str, str] = {}
        for spelling, value in parameters.items():
            known = self.find(spelling)
            if known is None or (known[1] and value is not True):
                continue
            flag, is_off = known
            written[flag.name] = spelling
            if is_off:
                set_to[flag.name] = False
            else:
                is_wrong = self.value_refusal(spelling, value) is not None
                set_to[flag.name] = None if is_wrong else flag.computed(value)
        return list(broken_rules(rules, self.flags, set_to, written, gpus or None))

    def value_refusal(self, spelling: str, value: FlagValue) -> str | None:
        """Why a flag can't have this value, as the end of a sentence that begins with the flag."""
        if isinstance(value, str) and value.startswith("-") and not _is_number(value):
            return "takes no text that begins with a dash, which would be read as another flag"
        known = self.find(spelling)
        if known is None:
            return None
        flag, is_off = known
        return (_SWITCHING_OFF if is_off else flag).refusal(value)

    def doubts(self, parameters: Mapping[str, FlagValue]) -> list[FlagProblem]:
        """What is perhaps meant otherwise, although the engine may well start with it."""
        found = []
        for spelling, value in parameters.items():
            known = self.find(spelling)
            if known is None or known[1]:
                continue
            flag = known[0]
            if flag.is_doubtful(value):
                close = nearest(str(value), flag.values)
                hint = f'; did you mean "{close}"?' if close else "."
                message = f"{spelling} {value} is none of the values known here{hint}"
                found.append(FlagProblem((spelling,), value, message))
            elif value is False and flag.definite_default is True:
                message = (
                    f"{spelling} false leaves the flag out, and it is on by default"
                    f"{_how_to_switch_off(flag, self)}"
                )
                found.append(FlagProblem((spelling,), value, message))
        return found

    def why_refused(
        self, written: str, value: FlagValue | None = None, allowed: Collection[str] = ()
    ) -> str | None:
        """Why a task may not set this flag, as a whole sentence; None where it may.

        A flag that is left out (`False`) does no harm.
        """
        name = flag_name(written)
        head = name.partition(".")[0]
        if value is False or name in allowed or head in allowed:
            return None
        is_known = self.find(name) is not None
        for refused in self.refused:
            if refused.covers(head) or (not is_known and refused.is_meant_by(head)):
                return (
                    f"`{written}` is refused for {self.engine}: it {refused.why}. An administrator "
                    f"can allow it with the setting {ALLOWING_SETTING}."
                )
        return None


_SWITCHING_OFF = KnownFlag("", "", "off", type=FlagType.SWITCH)
"""What `no-` in front of a switch makes of it: another switch."""

EMPTY = FlagCatalogue(engine="", versions="")


def _how_to_switch_off(flag: KnownFlag, catalogue: FlagCatalogue) -> str:
    negation = f"{NEGATION}{flag.name}"
    if flag.is_negatable or negation in catalogue.flags:
        return f"; {negation} true switches it off."
    return "."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_catalogue(
    path: Path, described_elsewhere: Mapping[str, KnownFlag] | None = None
) -> FlagCatalogue:
    """The catalogue in a data file.

    `described_elsewhere` are flags that the file only adds traits to.

    Raises:
        ValueError: the file is not as it should be; a mistake of ours that a test finds.
    """
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    head = data["catalogue"]
    flags = dict(described_elsewhere or {})
    for name, entry in data.get("traits", {}).items():
        flags[name] = replace(flags[name], **_fields(entry))
    for name, entry in data.get("flags", {}).items():
        if name in flags:
            raise ValueError(f"{path.name}: {name} is described twice")
        flags[name] = KnownFlag(name=name, **_fields(entry))
    return FlagCatalogue(
        engine=head["engine"],
        versions=head["versions"],
        sources=tuple(head["sources"]),
        flags=flags,
        rules=tuple(_rules(data.get("rules", []), flags)),
        refused=tuple(
            RefusedFlags(tuple(one["flags"]), one["why"]) for one in data.get("refused", [])
        ),
    )


def _rules(entries: list[dict[str, str]], flags: Mapping[str, KnownFlag]) -> Iterator[FlagRule]:
    for entry in entries:
        yield read_rule(entry["rule"], entry["why"], entry["source"], flags)


_WRITTEN_OTHERWISE = {
    "lossy": "is_lossy",
    "gpus": "changes_gpus",
    "open": "is_open",
    "negatable": "is_negatable",
    "suffixes": "has_suffixes",
}
_BOUNDS = {"min": "minimum", "max": "maximum", "above": "above", "below": "below"}
_LISTS = ("values", "words", "aliases")


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `KnownFlag` that an entry sets."""
    found: dict[str, Any] = {}
    bounds = {_BOUNDS[key]: value for key, value in entry.items() if key in _BOUNDS}
    if bounds:
        found["bounds"] = Bounds(**bounds)
    for key, value in entry.items():
        if key in _BOUNDS:
            continue
        name = _WRITTEN_OTHERWISE.get(key, key)
        found[name] = tuple(value) if key in _LISTS else value
    if "type" in found:
        found["type"] = FlagType(found["type"])
    return found
