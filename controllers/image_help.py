"""Asking an image which flags its engine has, once, and keeping the answer.

Engines add and drop flags with every release, and an image's tag says little of the release. So the
image itself is asked, in a short-lived container without network, GPU or model. One that does not
answer is not checked: the engine will speak for itself when it is started.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from docker import DockerClient
from docker.errors import DockerException
from docker.models.containers import Container
from docker.models.images import Image
from requests import RequestException

from controllers.base import DeploymentError, Tick, no_tick
from controllers.docker_engine import INSTANCE_LABEL
from controllers.engines.base import ContainerCommand, Engine
from controllers.engines.help_text import HelpText, read_help
from controllers.images import TICK_S
from tuning.domain.failures import FailureKind
from tuning.domain.names import FlagValue

TIME_LIMIT_S = 120.0
"""An engine imports much before it explains itself; a slow disk needs a minute for it."""
MOST_BYTES = 4 * 1024 * 1024
MOST_PROCESSES = 1024
PURPOSE_LABEL = "autotuner/purpose"

_ENVIRONMENT = {"COLUMNS": "200", "PYTHONUNBUFFERED": "1", "TERM": "dumb"}
_UNANSWERED = HelpText()

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Key:
    """An image by its content, and the engine that is looked for in it."""

    image_id: str
    engine: str

    @property
    def file_name(self) -> str:
        return f"{self.engine}-{self.image_id.rpartition(':')[2]}.json"


class ImageHelp:
    """What images said of their engines' flags, kept in `folder`."""

    def __init__(self, folder: Path, instance: str, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._folder = folder
        self._instance = instance
        self._time_limit_s = time_limit_s
        self._known: dict[_Key, HelpText] = {}
        self._guard = threading.Lock()

    def check(
        self,
        client: DockerClient,
        image: Image,
        engine: Engine,
        command: ContainerCommand,
        parameters: Mapping[str, FlagValue],
        tick: Tick = no_tick,
    ) -> None:
        """Make sure that the engine in `image` has the flags of `parameters`.

        `tick` is called while the image is being asked; what it raises ends the wait.

        Raises:
            DeploymentError: BAD_FLAG, it has not, or does not take one of the values.
        """
        if not engine.help_arguments or not parameters:
            return
        problems = self.help_of(client, image, engine, command, tick).problems(parameters)
        if problems:
            raise DeploymentError(
                FailureKind.BAD_FLAG,
                f"{engine.name} in the image {command.image} would refuse a flag: "
                f"{problems[0].message}",
            )

    def help_of(
        self,
        client: DockerClient,
        image: Image,
        engine: Engine,
        command: ContainerCommand,
        tick: Tick = no_tick,
    ) -> HelpText:
        """What the image said, now or earlier; empty where it did not answer."""
        key = _Key(str(image.id), str(engine.name))
        # Experiments that start side by side need the answer to one and the same question.
        while not self._guard.acquire(timeout=TICK_S):
            tick()
        try:
            if key not in self._known:
                self._known[key] = self._kept(key) or self._asked(
                    client, key, engine, command, tick
                )
            return self._known[key]
        finally:
            self._guard.release()

    def _kept(self, key: _Key) -> HelpText | None:
        try:
            flags = json.loads((self._folder / key.file_name).read_text(encoding="utf-8"))
            return HelpText({name: tuple(words) for name, words in flags.items()})
        except (OSError, ValueError, AttributeError, TypeError):
            return None

    def _asked(
        self,
        client: DockerClient,
        key: _Key,
        engine: Engine,
        command: ContainerCommand,
        tick: Tick,
    ) -> HelpText:
        for arguments in engine.help_arguments:
            try:
                container = self._create(client, key, command.entrypoint, arguments)
                printing = _start(container)
            except (DockerException, RequestException, OSError) as error:
                logger.info("%s could not be asked for its flags: %s", command.image, error)
                continue
            answer = read_help(self._printed(container, printing, tick))
            if answer.is_usable:
                self._keep(key, answer)
                return answer
        return _UNANSWERED

    def _keep(self, key: _Key, answer: HelpText) -> None:
        path = self._folder / key.file_name
        part = path.with_suffix(f".{threading.get_ident()}.part")
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(dict(answer.flags)), encoding="utf-8")
            part.replace(path)

    def _create(
        self, client: DockerClient, key: _Key, entrypoint: str | None, arguments: tuple[str, ...]
    ) -> Container:
        """Docker removes it by itself, also when nobody is there any more to do so."""
        return client.containers.create(
            key.image_id,
            list(arguments),
            entrypoint=None if entrypoint is None else [entrypoint],
            labels={INSTANCE_LABEL: self._instance, PURPOSE_LABEL: "help"},
            environment=_ENVIRONMENT,
            network_mode="none",
            security_opt=["no-new-privileges:true"],
            pids_limit=MOST_PROCESSES,
            auto_remove=True,
        )

    def _printed(self, container: Container, printing: _Printing, tick: Tick) -> str:
        """All that the container prints until its end, or in the time that it has."""
        deadline = time.monotonic() + self._time_limit_s
        try:
            while printing.reader.is_alive() and time.monotonic() < deadline:
                printing.reader.join(TICK_S)
                tick()
        finally:
            _remove(container)
        return printing.text.decode(errors="replace")


@dataclass(frozen=True)
class _Printing:
    """What a running container has printed so far, and the thread that reads it."""

    text: bytearray
    reader: threading.Thread


def _start(container: Container) -> _Printing:
    text = bytearray()
    try:
        # Before the start, so that nothing is missed: Docker forgets a removed container's output.
        output = container.attach(stdout=True, stderr=True, stream=True)
        container.start()
    except BaseException:
        _remove(container)
        raise
    reader = threading.Thread(target=_read, args=(output, text), name="image help", daemon=True)
    reader.start()
    return _Printing(text, reader)


def _read(output: Iterable[bytes], text: bytearray) -> None:
    with suppress(DockerException, RequestException, OSError):
        for chunk in output:
            text += chunk
            if len(text) > MOST_BYTES:
                return


def _remove(container: Container) -> None:
    """At once; one that has ended is being removed by Docker already."""
    with suppress(DockerException, RequestException):
        container.remove(force=True)
