"""The ways in which the winner can be deployed, each as a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from controllers.engines.llamacpp import EMBEDDED_SERVER
from tuning.exports.containers import compose_file, docker_run
from tuning.exports.export import YAML_TYPE, Export, filename
from tuning.exports.inference_service import inference_service
from tuning.exports.shell_text import by_flag, script
from tuning.exports.winner import Winner, read_winner
from tuning.models import Task

SHELL_TYPE = "text/x-shellscript; charset=utf-8"


class WinnerFile(StrEnum):
    """The kinds that an export address knows."""

    COMMAND = "command"
    DOCKER_RUN = "docker-run"
    COMPOSE = "compose"
    INFERENCE_SERVICE = "inference-service"


@dataclass(frozen=True)
class Recipe:
    """`title` is for headings, `purpose` one sentence on when it is the right one."""

    title: str
    purpose: str
    ending: str
    content_type: str
    write: Callable[[Winner], str]


@dataclass(frozen=True)
class Snippet:
    """A recipe with the text that it makes of a winner."""

    kind: WinnerFile
    recipe: Recipe
    text: str


def measured_command(winner: Winner) -> str:
    """The command line that was measured, as a shell script."""
    command = winner.experiment.command
    comments = [winner.title, "The very command that was measured, with its paths and its port."]
    if EMBEDDED_SERVER in command:
        comments.append("Run it in the directory of the autotuner, whose server it is.")
    return script(by_flag(command), comments)


RECIPES: Mapping[WinnerFile, Recipe] = {
    WinnerFile.COMMAND: Recipe(
        "Command line",
        "Exactly what was measured, on this machine.",
        "sh",
        SHELL_TYPE,
        measured_command,
    ),
    WinnerFile.DOCKER_RUN: Recipe(
        "docker run", "One container on any machine with Docker.", "sh", SHELL_TYPE, docker_run
    ),
    WinnerFile.COMPOSE: Recipe(
        "Compose file",
        "A service that Docker starts again after a reboot.",
        "yaml",
        YAML_TYPE,
        compose_file,
    ),
    WinnerFile.INFERENCE_SERVICE: Recipe(
        "OME InferenceService",
        "A service of a Kubernetes cluster with OME.",
        "yaml",
        YAML_TYPE,
        inference_service,
    ),
}


def snippets(winner: Winner) -> Iterator[Snippet]:
    for kind, recipe in RECIPES.items():
        yield Snippet(kind, recipe, recipe.write(winner))


def export_winner(task: Task, file: WinnerFile) -> Export:
    """Raises NoWinner when no experiment has succeeded yet."""
    recipe = RECIPES[file]
    text = recipe.write(read_winner(task))
    return Export(text, recipe.content_type, filename(task, file.value, recipe.ending))
