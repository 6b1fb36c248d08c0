"""docs/ENGINE_FLAGS.md from the flag catalogues: `python -m controllers.engines.flag_reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from controllers.engines.catalogue import engines
from controllers.engines.flag_catalogue import ALLOWING_SETTING, FlagCatalogue
from controllers.engines.known_flag import FlagType, KnownFlag

_HEAD = f"""# Engine flags

What the autotuner knows of the flags of each engine. Any other flag may be set as well: it is
passed on as it is, with a warning that names the known flag most like it.

Before an engine is launched, its configuration is checked against these tables. A value that a flag
does not take, a broken rule and a refused flag end the experiment at once (`bad_flag`), and the
form, the API and `run_task` say so before a task is saved or started. Where an image can be asked
(`--help`), its engine's flags are checked against that too, once for each image.

In the tables:

- **Takes**: a number with its bounds, one of a list of words, a text, or nothing (a switch, which a
  task sets to `true` or `false`). `…` ends a list that grows with each version of the engine:
  another word is only doubted. *8k* stands for numbers that may be written as `8k` (8000) or `8K`
  (8192).
- **Default** counts in rules where a flag is left out. `false` leaves a flag out.
- **Notes**: *lossy* flags may change the model's answers (quantization, a KV cache of fewer than 16
  bits, speculative decoding); *GPUs* flags decide how many GPUs are taken; *no-* in front of the
  name switches a flag off.
- **Rules** are written as the constraints of a task file. `gpus` is the number of GPUs of the host.

These tables are made from `controllers/engines/data/*.toml` and
`controllers/engines/llamacpp_flags.py` by `python -m controllers.engines.flag_reference`. A flag of
a data file has `type`, `default` and `meaning`, and where they say something `values`, `words`
(accepted beside numbers), `min`, `max`, `above` and `below` (bounds, the latter two excluded),
`unit`, `lossy`, `gpus`, `open`, `negatable`, `suffixes`, `aliases`, `since` and `until`.

## Refused flags

Flags that the autotuner sets itself can't be set by a task at all. Others are refused because a
task file may come from anybody who is allowed to tune: an administrator allows them one by one, in
`{ALLOWING_SETTING}` ([SETTINGS.md](SETTINGS.md)), for example
`{ALLOWING_SETTING}=trust-remote-code`. The beginning of such a flag is refused too, as most engines
take it for the flag.
"""


def reference() -> str:
    """The whole document."""
    found = engines()
    lines = [_HEAD]
    for engine in found.values():
        lines += [f"### {engine.name}", "", "| Flags | Why |", "|---|---|"]
        own = _code_list(sorted(engine.reserved_flags))
        lines.append(f"| {own} | set by the autotuner, never by a task |")
        lines += [f"| {_code_list(one.patterns)} | {one.why} |" for one in engine.catalogue.refused]
        lines.append("")
    for engine in found.values():
        lines += _section(engine.catalogue)
    return "\n".join(lines).rstrip() + "\n"


def _section(catalogue: FlagCatalogue) -> Iterator[str]:
    yield f"## {catalogue.engine}"
    yield ""
    yield f"Versions: {catalogue.versions}. Sources: {'; '.join(catalogue.sources)}."
    yield ""
    yield "| Flag | Takes | Unit | Default | Meaning | Notes |"
    yield "|---|---|---|---|---|---|"
    for flag in catalogue.flags.values():
        names = _code_list((flag.name, *flag.aliases))
        cells = (names, _takes(flag), flag.unit, flag.default, flag.meaning, _notes(flag))
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "| Rule | Why | Source |"
    yield "|---|---|---|"
    for rule in catalogue.rules:
        yield f"| `{rule.text}` | {rule.why} | {rule.source} |"
    yield ""


def _takes(flag: KnownFlag) -> str:
    match flag.type:
        case FlagType.SWITCH:
            return "switch"
        case FlagType.CHOICE:
            return _code_list(flag.values) + (", …" if flag.is_open else "")
        case FlagType.TEXT:
            return "text"
        case FlagType.INT | FlagType.FLOAT:
            return flag.takes.removeprefix("a ") + (" (8k)" if flag.has_suffixes else "")


def _notes(flag: KnownFlag) -> str:
    said = (
        ("lossy", flag.is_lossy),
        ("GPUs", flag.changes_gpus),
        ("no-", flag.is_negatable),
        (f"since {flag.since}", flag.since),
        (f"until {flag.until}", flag.until),
    )
    return ", ".join(words for words, applies in said if applies)


def _code_list(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    sys.stdout.write(reference())
