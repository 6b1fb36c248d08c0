"""One flag of an engine: what it takes, what it means, and what a value is worth to it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum

from tuning.domain.names import FlagValue

NOT_SET = "not set"
"""The default of a text or a choice that means nothing where it is left out."""

_WHOLE = re.compile(r"[+-]?\d+")
_DECIMAL_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_SUFFIXES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class FlagType(StrEnum):
    """What stands behind a flag on a command line; nothing at all behind a switch."""

    INT = "int"
    FLOAT = "float"
    SWITCH = "switch"
    CHOICE = "choice"
    TEXT = "text"


@dataclass(frozen=True)
class Bounds:
    """The numbers that a flag accepts: `minimum` and `maximum` themselves, `above` and `below`
    not. None leaves a side open."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, number: float) -> bool:
        return (
            (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        """Such as `above 0 and at most 1`; nothing for numbers without bounds."""
        said = (
            ("at least", self.minimum),
            ("above", self.above),
            ("at most", self.maximum),
            ("below", self.below),
        )
        return " and ".join(f"{words} {bound:.12g}" for words, bound in said if bound is not None)


@dataclass(frozen=True)
class KnownFlag:
    """One flag that the product can explain.

    `name` is without dashes and `default` written as a user would type it, or in words where it
    depends on something else. `values` lists the words of a choice; with `is_open` each version of
    the engine has its own, and another word is no mistake. `words` are accepted beside what `type`
    says. `bare` is what the flag means without a value, where it may be left out. With
    `has_suffixes` a number may be written as `8k` (8000) or `8K` (8192). `is_negatable`: `no-` in
    front of the name switches it off.

    `unit` is what a number counts. `is_lossy`: the model may answer otherwise than without the
    flag. `changes_gpus`: it decides how many GPUs are taken. `since` and `until` are the first and
    the last version of the engine that has the flag, where that is known and matters.
    """

    name: str
    meaning: str
    default: str
    values: tuple[str, ...] = ()
    type: FlagType = FlagType.TEXT
    bounds: Bounds = Bounds()
    unit: str = ""
    is_lossy: bool = False
    changes_gpus: bool = False
    is_open: bool = False
    is_negatable: bool = False
    has_suffixes: bool = False
    words: tuple[str, ...] = ()
    bare: str | None = None
    aliases: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    @property
    def takes(self) -> str:
        """What may stand behind the flag, as the end of a sentence."""
        match self.type:
            case FlagType.SWITCH:
                return "true or false, and no value"
            case FlagType.CHOICE:
                return f"one of {', '.join(self.values)}"
            case FlagType.TEXT:
                return "a text"
            case FlagType.INT | FlagType.FLOAT:
                kind = "a whole number" if self.type is FlagType.INT else "a number"
                bounds = f" {self.bounds}" if str(self.bounds) else ""
                return f"{kind}{bounds}" + "".join(f", or {word}" for word in self.words)

    def refusal(self, value: FlagValue) -> str | None:
        """Why the engine will not take this value, as the end of a sentence that begins with the
        flag; None where it may. `False` leaves a flag out and is always right."""
        return None if value is False or self._accepts(value) else f"takes {self.takes}"

    def is_doubtful(self, value: FlagValue) -> bool:
        """Whether the value is none of those known, where other versions may know it."""
        listed = self.type is FlagType.CHOICE and self.is_open and not isinstance(value, bool)
        return listed and str(value) not in (*self.values, *self.words)

    def computed(self, value: FlagValue) -> FlagValue | None:
        """What a rule computes with: a number, a text, or True and False for a switch. None where
        that is not known, as for the word `auto` in place of a number."""
        if value is False:
            return self.definite_default
        if value is True and self.type is not FlagType.SWITCH:
            return None if self.bare is None else self.computed(self.bare)
        match self.type:
            case FlagType.SWITCH:
                return True if value is True else None
            case FlagType.CHOICE | FlagType.TEXT:
                return str(value)
            case FlagType.INT | FlagType.FLOAT:
                return self._number(value)

    @property
    def definite_default(self) -> FlagValue | None:
        """The default where it is one value, whatever the model and the hardware are."""
        match self.type:
            case FlagType.SWITCH:
                return {"on": True, "off": False}.get(self.default)
            case FlagType.CHOICE | FlagType.TEXT:
                return self.default if self.default in (*self.values, NOT_SET) else None
            case FlagType.INT | FlagType.FLOAT:
                return self._number(self.default)

    def _accepts(self, value: FlagValue) -> bool:
        if value is True:
            return self.type is FlagType.SWITCH or self.bare is not None
        if str(value) in self.words:
            return True
        match self.type:
            case FlagType.SWITCH:
                return False
            case FlagType.CHOICE:
                return self.is_open or str(value) in self.values
            case FlagType.TEXT:
                return True
            case FlagType.INT | FlagType.FLOAT:
                number = self._number(value)
                return number is not None and self.bounds.holds(number)

    def _number(self, value: FlagValue) -> int | float | None:
        """As the engine reads the command line, where 8.0 is no whole number."""
        text = str(value).strip()
        if self.type is FlagType.INT:
            if _WHOLE.fullmatch(text):
                return int(text)
            return _with_suffix(text) if self.has_suffixes else None
        try:
            number = float(text)
        except ValueError:
            return None
        return number if math.isfinite(number) else None


def _with_suffix(text: str) -> int | None:
    """`8k`, `25.6k` or `8K`, as vLLM reads them: fractions only with a decimal suffix."""
    number, suffix = text[:-1], text[-1:]
    if suffix in _DECIMAL_SUFFIXES and re.fullmatch(r"\d+(\.\d+)?", number):
        return int(float(number) * _DECIMAL_SUFFIXES[suffix])
    if suffix in _BINARY_SUFFIXES and number.isdecimal():
        return int(number) * _BINARY_SUFFIXES[suffix]
    return None
