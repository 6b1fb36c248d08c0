"""The flags in a command line that somebody else wrote: which they are, and the line without some.

argparse, of which SGLang and vLLM make use, takes `--tp-size 4`, `--tp-size=4` and `--tp_size 4`
alike, any unambiguous beginning of a name, and the last of several.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from controllers.engines.base import Engine
from controllers.engines.known_flag import FlagType
from tuning.domain.names import FlagValue
from tuning.domain.parameters import flag_name

MODEL_PATH = "MODEL_PATH"
"""The variable in which OME tells a runtime where the model is."""

_FLAG = re.compile(r"--?[A-Za-z]")
_ONE_VALUE = frozenset({FlagType.INT, FlagType.FLOAT, FlagType.CHOICE})
_NEGATION = "no-"


@dataclass(frozen=True)
class FlagInCommand:
    """A flag, with the places of its words in the command. `value` is the first of its values, True
    where it has none. `name` is the catalogue's; `is_off` for `--no-…` of a known flag."""

    name: str
    is_off: bool
    value: FlagValue
    places: tuple[int, ...]


def flags_of(
    words: Sequence[str], engine: Engine, parameters: Mapping[str, FlagValue]
) -> list[FlagInCommand]:
    """The flags of `words`, in their order.

    `parameters` tell of flags that no catalogue knows whether they are switches.
    """
    switches = {flag_name(name) for name, value in parameters.items() if isinstance(value, bool)}
    found: list[FlagInCommand] = []
    place = 0
    while place < len(words):
        if not _FLAG.match(words[place]):
            place += 1
            continue
        written, has_value, value = words[place].partition("=")
        name, is_off = canonical_name(written, engine)
        values = 0 if has_value else _count_values(words, place + 1, written, engine, switches)
        first: FlagValue = value if has_value else words[place + 1] if values else True
        found.append(FlagInCommand(name, is_off, first, tuple(range(place, place + 1 + values))))
        place += 1 + values
    return found


def without_flags(
    words: Sequence[str],
    unwanted: Collection[str],
    engine: Engine,
    parameters: Mapping[str, FlagValue],
) -> list[str]:
    """`words` without the flags of these names, which `canonical_name` gives, and their values."""
    flags = flags_of(words, engine, parameters)
    removed = {place for flag in flags if flag.name in unwanted for place in flag.places}
    return [word for place, word in enumerate(words) if place not in removed]


def canonical_name(written: str, engine: Engine) -> tuple[str, bool]:
    """One name for all spellings of a flag, and whether it is switched off: `--tp` and
    `--tensor_parallel_size` are `tp-size` for SGLang."""
    name = flag_name(written)
    known = engine.catalogue.find(name)
    if known is not None:
        return known[0].name, known[1]
    if written.startswith("--") and name not in engine.reserved_flags:
        begun = (spelling for spelling in engine.known_flags if spelling.startswith(name))
        meant = {found[0].name for one in begun if (found := engine.catalogue.find(one))}
        if len(meant) == 1:
            return meant.pop(), False
    return name, False


def _count_values(
    words: Sequence[str], start: int, written: str, engine: Engine, switches: Collection[str]
) -> int:
    """How many words from `start` on are values of the flag before. Where the model is told without
    a flag of its own (`vllm serve $(MODEL_PATH)`), it belongs to none."""
    name = flag_name(written)
    known = engine.catalogue.find(name)
    if known is not None and (known[1] or known[0].type is FlagType.SWITCH):
        return 0
    if known is None and (name in switches or name.removeprefix(_NEGATION) in switches):
        return 0
    most = 1 if known is not None and known[0].type in _ONE_VALUE else len(words)
    count = 0
    for word in words[start : start + most]:
        if _FLAG.match(word) or (count and MODEL_PATH in word):
            break
        count += 1
    return count
