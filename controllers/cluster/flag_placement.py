"""How a task's flags get into the command of a serving runtime.

OME v0.1.5 merges an InferenceService's `engine.runner` over the runtime's: `args` and `command`
each take the place of the runtime's whole list. So `args` are either added to a command that has
all the flags, or sent as a full list in which ours take the place of the runtime's. Where that is
not enough, the command itself has to change, which takes a runtime of our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from controllers.base import DeploymentError
from controllers.cluster.command_flags import canonical_name, flags_of, without_flags
from controllers.cluster.runtimes import Runtime
from controllers.cluster.shell_script import (
    UnreadableScript,
    engine_command,
    script_place,
    with_arguments,
)
from controllers.engines.base import Engine
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName, FlagValue
from tuning.domain.parameters import flag_name

LONGEST_ARGUMENT = 128 * 1024 - 1
"""Bytes of one argument that Linux passes to a program (MAX_ARG_STRLEN)."""
PLACEHOLDER = "{{"
"""OME takes what follows for one of its own placeholders, such as `{{.Name}}`."""

VARIABLE = "$"

_SERVED_NAME = {EngineName.LLAMACPP: "alias"}
_USUAL_SERVED_NAME = "served-model-name"
_PROGRAMS = {
    EngineName.SGLANG: ("sglang",),
    EngineName.VLLM: ("vllm",),
    EngineName.LLAMACPP: ("llama-server",),
}


@dataclass(frozen=True)
class FlagPlacement:
    """`args` go into the InferenceService; None leaves the runtime's as they are. `command` has to
    take the place of the runtime's; None where it may stay. Both are as Kubernetes reads them.

    `shown` is the whole command for people. `gpu_parameters` are all flags that decide how many
    GPUs are taken, those of the runtime included; None where the runtime leaves that to variables.
    """

    args: tuple[str, ...] | None
    command: tuple[str, ...] | None
    shown: tuple[str, ...]
    gpu_parameters: Mapping[str, FlagValue] | None


def place_flags(
    runtime: Runtime, engine: Engine, served_model_name: str, parameters: Mapping[str, FlagValue]
) -> FlagPlacement:
    """Put `parameters`, and the name that clients put into requests, into a runtime's command.

    A flag of ours takes the place of the runtime's, however it is spelled; `False` takes it out.
    The runtime keeps all others: the model's path, its port, what the task does not touch.

    Raises:
        DeploymentError: BAD_FLAG for a flag that can't be passed on, INVALID_SPEC for a command
            that flags can't be put into.
    """
    ours = _ours(engine, served_model_name, parameters)
    try:
        place = script_place((*runtime.command, *runtime.args))
        if place is not None:
            return _into_script(runtime, engine, parameters, ours, place)
    except UnreadableScript as error:
        raise DeploymentError(
            FailureKind.INVALID_SPEC,
            f"The runtime `{runtime.name}` can't be given flags: {error}. Use one that has its "
            "command as a list.",
        ) from error
    return _into_lists(runtime, engine, parameters, ours)


def kubernetes_argument(text: str) -> str:
    """Kubernetes replaces `$(NAME)` in commands and args; a doubled `$` stands for itself."""
    return text.replace("$", "$$")


def check_argument(name: str, text: str) -> None:
    """Raises DeploymentError: BAD_FLAG, for a value that can't get to the engine as it is."""
    why = None
    if PLACEHOLDER in text:
        why = f"has {PLACEHOLDER}, which OME takes for the begin of a placeholder of its own"
    elif "\0" in text:
        why = "has a null character, which no argument of a program can have"
    elif len(text.encode(errors="replace")) > LONGEST_ARGUMENT:
        why = f"has more than the {LONGEST_ARGUMENT:,} bytes that one argument can have"
    elif any("\ud800" <= letter <= "\udfff" for letter in text):
        why = "has half of a character (a surrogate)"
    if why is not None:
        raise DeploymentError(FailureKind.BAD_FLAG, f"{name}: the value {text[:80]!r} {why}.")


def _ours(
    engine: Engine, served_model_name: str, parameters: Mapping[str, FlagValue]
) -> tuple[str, ...]:
    flags = engine.flags(parameters)
    for name, value in parameters.items():
        check_argument(name, name)
        check_argument(name, str(value))
    check_argument("benchmark.model_name", served_model_name)
    return (f"--{_served_name(engine)}", served_model_name, *flags)


def _into_lists(
    runtime: Runtime,
    engine: Engine,
    parameters: Mapping[str, FlagValue],
    ours: Sequence[str],
) -> FlagPlacement:
    replaced = _replaced(engine, parameters)
    kept_args = without_flags(runtime.args, replaced, engine, parameters)
    command = runtime.command
    # What comes last wins, so that the command has to change only for what is to be left out.
    left_out = _left_out(engine, parameters)
    if any(flag.name in left_out for flag in flags_of(command, engine, parameters)):
        command = tuple(without_flags(command, replaced, engine, parameters))
    return FlagPlacement(
        args=(*kept_args, *(kubernetes_argument(word) for word in ours)),
        command=None if command == runtime.command else command,
        shown=(*command, *kept_args, *ours),
        gpu_parameters=_gpu_parameters((*command, *kept_args), engine, parameters),
    )


def _into_script(
    runtime: Runtime,
    engine: Engine,
    parameters: Mapping[str, FlagValue],
    ours: Sequence[str],
    place: int,
) -> FlagPlacement:
    before, script = (*runtime.command, *runtime.args)[:place], _word_at(runtime, place)
    words = engine_command(script, lambda word: _is_program(word, engine))
    texts = [word.text for word in words]
    unwanted = _replaced(engine, parameters)
    flags = flags_of(texts, engine, parameters)
    removed = {at for flag in flags if flag.name in unwanted for at in flag.places}
    sent = with_arguments(script, words, removed, [kubernetes_argument(word) for word in ours])
    in_command = place < len(runtime.command)
    return FlagPlacement(
        args=None if in_command else (*before[len(runtime.command) :], sent),
        command=(*before, sent) if in_command else None,
        shown=(*before, with_arguments(script, words, removed, ours)),
        gpu_parameters=_gpu_parameters(
            [word for at, word in enumerate(texts) if at not in removed], engine, parameters
        ),
    )


def _word_at(runtime: Runtime, place: int) -> str:
    return (*runtime.command, *runtime.args)[place]


def _is_program(word: str, engine: Engine) -> bool:
    program = PurePosixPath(word).name
    return any(program == name or program.startswith(f"{name}.") for name in _PROGRAMS[engine.name])


def _served_name(engine: Engine) -> str:
    return _SERVED_NAME.get(engine.name, _USUAL_SERVED_NAME)


def _replaced(engine: Engine, parameters: Mapping[str, FlagValue]) -> set[str]:
    """All flags that the runtime may not set any more, as the catalogue calls them."""
    mine = (canonical_name(f"--{flag_name(name)}", engine)[0] for name in parameters)
    return {_served_name(engine), *mine}


def _left_out(engine: Engine, parameters: Mapping[str, FlagValue]) -> set[str]:
    return _replaced(
        engine, {name: value for name, value in parameters.items() if value is False}
    ) - {_served_name(engine)}


def _gpu_parameters(
    words: Sequence[str], engine: Engine, parameters: Mapping[str, FlagValue]
) -> Mapping[str, FlagValue] | None:
    """`parameters`, and what the rest of the command says of the number of GPUs."""
    decisive = {canonical_name(f"--{name}", engine)[0] for name in engine.gpu_flags}
    mine = {canonical_name(f"--{flag_name(name)}", engine)[0] for name in parameters}
    found = {
        flag.name: flag.value
        for flag in flags_of(words, engine, parameters)
        if flag.name in decisive - mine
    }
    if any(VARIABLE in str(value) for value in found.values()):
        return None
    return {**found, **parameters}
