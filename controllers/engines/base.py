"""What every inference engine has in common: its command line, its health path, how it fails.

An `Engine` knows its own flags and nothing of processes, containers or clusters; a controller asks
it for a command and runs that where it will.
"""

from __future__ import annotations

import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from controllers.base import DeploymentError
from controllers.engines.flag_catalogue import EMPTY, FlagCatalogue
from controllers.engines.known_flag import KnownFlag as KnownFlag
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, FlagValue
from tuning.domain.parameters import flag_name

MAX_QUOTED_LINE = 300
"""Characters of one log line that a failure's message quotes."""


@dataclass(frozen=True)
class LocalCommand:
    """How to start an engine as a process of this host.

    `env` comes on top of the inherited environment. `cwd` is where the command has to be run, or
    None where that makes no difference.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True)
class ContainerCommand:
    """How to start an engine in a container.

    `image` has its tag. `entrypoint` replaces the image's own program; None leaves that in place,
    and `arguments` then begin with the program. `argv` is what runs in the end.
    """

    image: str
    entrypoint: str | None
    arguments: tuple[str, ...]

    @property
    def argv(self) -> tuple[str, ...]:
        program = () if self.entrypoint is None else (self.entrypoint,)
        return program + self.arguments


@dataclass(frozen=True)
class Symptom:
    """A failure told by a log line: the first line that `pattern` finds decides the kind."""

    kind: FailureKind
    pattern: re.Pattern[str]


def symptom(kind: FailureKind, *patterns: str) -> Symptom:
    """Any of `patterns` (regular expressions, upper and lower case alike) means `kind`."""
    return Symptom(kind, re.compile("|".join(patterns), re.IGNORECASE))


# In order of trust: an engine that ran out of memory or found its port taken often goes on to
# complain about flags or models as well, but never the other way round.
COMMON_SYMPTOMS: tuple[Symptom, ...] = (
    symptom(
        FailureKind.PORT_TAKEN,
        r"address already in use",
        r"\berrno 98\b",
        r"couldn't bind http server socket",
        r"error: port \d+ .*is taken",
    ),
    symptom(
        FailureKind.OUT_OF_MEMORY,
        r"out of memory",
        r"outofmemoryerror",
        r"std::bad_alloc",
        # llama.cpp only warns of an mlock that failed, whatever it dies of afterwards.
        r"^(?!.*mlock).*cannot allocate memory",
        r"failed to allocate",
        r"unable to allocate",
        r"insufficient memory",
        r"not enough memory",
        r"no available memory for the cache blocks",
        r"\bMemoryError\b",
    ),
    symptom(
        FailureKind.BAD_FLAG,
        r"error: unrecognized arguments",
        r"error: argument ",
        r"error: ambiguous option",
        r"error: the following arguments are required",
        r"error: invalid argument",
        r"error while handling argument",
    ),
    symptom(
        FailureKind.MODEL_MISSING,
        r"no such model file",
        r"model file .*not found",
        r"is not a local folder and is not a valid model identifier",
        r"repository not found",
        r"repo id must ",
        r"does not appear to have a file named config\.json",
        r"can't load the configuration of",
        r"is not a gguf file",
    ),
)

_TELLING = re.compile(
    r"error|exception|fail|fatal|abort|assert|cannot|can't|invalid|unsupported", re.IGNORECASE
)


class Engine(ABC):
    """An inference server that speaks the OpenAI API.

    Instances hold no state that changes and may be used from several threads. `allowed_flags` are
    those that an administrator allows although the catalogue refuses them. Without `checks_flags`
    only the controller's own flags are refused: for commands that are shown and not run.
    """

    name: ClassVar[EngineName]
    health_path: ClassVar[str] = "/health"
    """Answers 200 once the model is loaded; the same path for all engines so far."""
    reserved_flags: ClassVar[frozenset[str]]
    """Flags, without dashes, that the controller sets itself."""
    gpu_flags: ClassVar[frozenset[str]] = frozenset()
    """Flags, without dashes, that `gpus_needed` looks at."""
    image: ClassVar[str]
    """The engine's container image, without a tag."""
    default_image_tag: ClassVar[str]
    """Used where a task names no tag."""
    gpu_image_tag: ClassVar[str | None] = None
    """Used in its place for a container that is given GPUs; None where one image does for both."""
    runs_without_gpus: ClassVar[bool] = False
    """Whether a command that asks for GPUs serves as well on a host that has none, more slowly."""
    shares_host_memory: ClassVar[bool] = False
    """Whether its processes pass tensors through shared memory, of which a container has little
    by itself."""
    help_arguments: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """What to run in its image to be told its flags, in place of a command's arguments: the first
    that is answered will do."""
    environment: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Variables that a launch by the autotuner sets and its command line does not show."""
    extra_symptoms: ClassVar[tuple[Symptom, ...]] = ()
    """What only this engine says; looked for before `COMMON_SYMPTOMS`."""

    catalogue: FlagCatalogue = EMPTY
    """What is known of its flags; nothing, unless an engine says otherwise."""
    allowed_flags: frozenset[str] = frozenset()
    checks_flags: bool = True

    def __init__(self, allowed_flags: Iterable[str] = (), *, checks_flags: bool = True) -> None:
        self.allowed_flags = frozenset(flag_name(name) for name in allowed_flags)
        self.checks_flags = checks_flags

    @property
    def known_flags(self) -> Mapping[str, KnownFlag]:
        """Flags that can be explained, by each of their names. Others are allowed as well."""
        return self.catalogue.by_spelling

    @abstractmethod
    def locate_model(self, model: str, models_dir: Path) -> str:
        """The model as the engine's command line wants it: a path or a hub id.

        Raises:
            DeploymentError: there is no such model; the message says what there is instead.
        """

    @abstractmethod
    def local_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
    ) -> LocalCommand:
        """The command that serves `model` (from `locate_model`) at `host`:`port`.

        Raises:
            DeploymentError: as `flags` does.
        """

    @abstractmethod
    def container_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
        image: str,
    ) -> ContainerCommand:
        """As `local_command`, with `model` as it is called inside a container of `image`.

        Raises:
            DeploymentError: as `flags` does.
        """

    @abstractmethod
    def missing(self) -> Failure | None:
        """Why this engine can't run on this host, or None when it can."""

    @abstractmethod
    def version(self) -> str | None:
        """The version that `local_command` would start, if it can be told within seconds."""

    def gpus_needed(self, parameters: Mapping[str, FlagValue]) -> int:
        """How many GPUs an engine with these flags takes; 0 for one that does without."""
        return 0

    def image_with_tag(
        self, image: str | None = None, tag: str | None = None, gpus: int = 0
    ) -> str:
        """The engine's own image, or `image`, of which only Docker's usual tag can be expected.

        `gpus` is how many the container is given.
        """
        if image is not None:
            return f"{image}:{tag or 'latest'}"
        own_tag = (gpus and self.gpu_image_tag) or self.default_image_tag
        return f"{self.image}:{tag or own_tag}"

    def classify_exit(self, log_lines: Sequence[str], exit_code: int | None) -> Failure:
        """Why an engine that stopped by itself did so.

        `exit_code` is negative for a signal, as in `subprocess`, and None when nobody knows it.
        """
        how = describe_exit(exit_code)
        for known in (*self.extra_symptoms, *COMMON_SYMPTOMS):
            for line in log_lines:
                if known.pattern.search(line):
                    return Failure(known.kind, f"{self.name} {how}: {quoted(line)}")
        if exit_code == -signal.SIGKILL:
            return Failure(
                FailureKind.OUT_OF_MEMORY,
                f"{self.name} {how}, perhaps by the kernel's out-of-memory killer "
                "(`dmesg` would tell)",
            )
        line = self.telling_line(log_lines)
        return Failure(FailureKind.CRASHED, f"{self.name} {how}" + (f": {line}" if line else ""))

    def telling_line(self, log_lines: Sequence[str]) -> str:
        """The line that says most about a crash, short enough for a message; '' without any."""
        return most_telling_line(log_lines)

    def flag_refusal(self, name: str, value: FlagValue | None = None) -> str | None:
        """Why a task may not set the flag `name`, as a whole sentence; None where it may."""
        if self._is_reserved(flag_name(name)):
            return (
                f"`{name}` can't be a parameter: the autotuner sets this flag of {self.name} "
                "itself."
            )
        if not self.checks_flags:
            return None
        return self.catalogue.why_refused(name, value, self.allowed_flags)

    def flags(self, parameters: Mapping[str, FlagValue]) -> list[str]:
        """`parameters` as arguments.

        Raises:
            DeploymentError: BAD_FLAG, for a flag that a task may not set, a value that its flag
                does not take, and a broken rule between flags.
        """
        self.check_flags(parameters)
        return flag_arguments(parameters)

    def check_flags(self, parameters: Mapping[str, FlagValue], gpus: int | None = None) -> None:
        """Refuse what the engine would not start with, on `gpus` cards where their number is known.

        Raises:
            DeploymentError: as `flags` does.
        """
        refusals = [self.flag_refusal(name, value) for name, value in parameters.items()]
        problems = self.catalogue.problems(parameters, gpus) if self.checks_flags else []
        for message in (*refusals, *(problem.message for problem in problems)):
            if message:
                raise DeploymentError(FailureKind.BAD_FLAG, message)

    def _is_reserved(self, name: str) -> bool:
        """argparse takes the unambiguous beginning of a flag for the flag."""
        if name in self.reserved_flags:
            return True
        is_known = self.catalogue.find(name) is not None
        return not is_known and any(flag.startswith(name) for flag in self.reserved_flags)


def flag_arguments(parameters: Mapping[str, FlagValue]) -> list[str]:
    """Command-line arguments for `parameters`, in the order given.

    `True` switches a flag on, `False` leaves it out; a float is written so that it reads back as
    exactly the same number.
    """
    arguments: list[str] = []
    for name, value in parameters.items():
        if value is False:
            continue
        arguments.append(f"--{name}")
        if value is not True:
            arguments.append(repr(value) if isinstance(value, float) else str(value))
    return arguments


def count_of(parameters: Mapping[str, FlagValue], *names: str) -> int:
    """The whole number that the first of the flags `names` is set to; 1, the usual default of a
    degree of parallelism, where none is set to any."""
    for name in names:
        value = parameters.get(name)
        if value is None or isinstance(value, bool):
            continue
        if str(value).isdecimal():
            return max(1, int(value))
    return 1


def describe_exit(exit_code: int | None) -> str:
    """How a process ended, in words that follow its name."""
    if exit_code is None:
        return "stopped"
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"


def most_telling_line(log_lines: Sequence[str]) -> str:
    """The last line that speaks of an error, else the last line with anything in it, else ''."""
    spoken = [line for line in log_lines if line.strip()]
    telling = [line for line in spoken if _TELLING.search(line)]
    return quoted((telling or spoken or [""])[-1])


def quoted(line: str) -> str:
    """`line` without its outer spaces and short enough for a message."""
    text = line.strip()
    return text if len(text) <= MAX_QUOTED_LINE else text[:MAX_QUOTED_LINE] + " …"
