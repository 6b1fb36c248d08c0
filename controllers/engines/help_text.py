"""What an engine's own `--help` says of its flags: names, and words to choose from.

Two ways of writing are read: that of Python's argparse (`vllm serve --help=all`, SGLang), and that
of `llama-server --help`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from controllers.engines.flag_rules import FlagProblem
from tuning.domain.names import FlagValue
from tuning.domain.parameters import flag_name
from tuning.domain.spelling import suggestion

# A flag begins its line, or stands far left of the column of explanations.
_DEFINITION = re.compile(r"^ {0,8}(?=-{1,2}[A-Za-z])")
_ALIGNED_COMMA = re.compile(r",\s+")
_EXPLANATION = re.compile(r"\s{2,}")
_NAME = re.compile(r"(?<![\w-])--([A-Za-z][\w.-]*)")
_CHOICES = re.compile(r"[{\[<](?P<words>[^{}\[\]<>\s]+)[}\]>](?=$|,|\s+\[|\s+-)")

EVERY_SERVER_HAS = "port"
"""A text without this flag is no help of a server: an error, or a first page of several."""


@dataclass(frozen=True)
class HelpText:
    """Flags without dashes, each with the only words it takes; no words where any value will do."""

    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_usable(self) -> bool:
        return EVERY_SERVER_HAS in self.flags

    def problems(self, parameters: Mapping[str, FlagValue]) -> list[FlagProblem]:
        """Flags that this engine does not have, and words that a flag of it does not take; nothing
        where it gave no usable answer."""
        found: list[FlagProblem] = []
        if not self.is_usable:
            return found
        for written, value in parameters.items():
            name = flag_name(written).partition(".")[0]
            if value is False or self._is_beginning(name):
                continue
            if name not in self.flags:
                hint = suggestion(name, self.flags) or "."
                found.append(
                    FlagProblem((written,), None, f"there is no flag --{name} in it{hint}")
                )
            elif value is not True and self.flags[name] and str(value) not in self.flags[name]:
                words = ", ".join(self.flags[name])
                message = f"its flag --{name} takes one of {words}, not {str(value)!r}."
                found.append(FlagProblem((written,), value, message))
        return found

    def _is_beginning(self, name: str) -> bool:
        """argparse takes the beginning of a flag for the flag."""
        return name not in self.flags and any(flag.startswith(name) for flag in self.flags)


def read_help(text: str) -> HelpText:
    """The flags that a help text defines; nothing of a text that is none."""
    flags: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        if not _DEFINITION.match(line):
            continue
        head = _EXPLANATION.split(_ALIGNED_COMMA.sub(", ", line.strip()))[0]
        choices = _choices(head)
        for name in _NAME.findall(head):
            flags.setdefault(flag_name(name), choices)
    return HelpText(flags)


def _choices(head: str) -> tuple[str, ...]:
    """The words behind a flag, such as `{auto,half}`, `[on|off|auto]` or `<0|1>`."""
    found = _CHOICES.search(head)
    if found is None:
        return ()
    words = tuple(re.split(r"[,|]", found["words"]))
    # One word in brackets, or a range such as <0...100>, is a name for what one may write.
    return words if len(words) > 1 and "..." not in found["words"] else ()
