"""FakeEngine as the product's engines are described: how it is started, here and in a container."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from controllers.engines.base import ContainerCommand, Engine, KnownFlag, LocalCommand, count_of
from controllers.engines.model_files import locate_directory_or_hub_id
from tuning.domain.failures import Failure
from tuning.domain.names import EngineName, FlagValue

SERVER = Path(__file__).with_name("server.py")


class FakeEngineKind(Engine):
    """Takes the place of SGLang in tests."""

    name = EngineName.SGLANG
    image = "autotuner-fake-engine"
    default_image_tag = "test"
    reserved_flags = frozenset({"model", "served-model-name", "host", "port"})
    known_flags: Mapping[str, KnownFlag] = {}

    def locate_model(self, model: str, models_dir: Path) -> str:
        return locate_directory_or_hub_id(model, models_dir)

    def local_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
    ) -> LocalCommand:
        own = ["--model", model, "--served-model-name", served_model_name]
        place = ["--host", host, "--port", str(port)]
        return LocalCommand(
            (sys.executable, str(SERVER), *own, *place, *self.flags(parameters)),
        )

    def container_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
        image: str,
    ) -> ContainerCommand:
        own = ("--model", model, "--served-model-name", served_model_name)
        place = ("--host", host, "--port", str(port))
        arguments = ("/server.py", *own, *place, *self.flags(parameters))
        return ContainerCommand(image, "python3", arguments)

    def gpus_needed(self, parameters: Mapping[str, FlagValue]) -> int:
        return count_of(parameters, "tp-size") if "tp-size" in parameters else 0

    def missing(self) -> Failure | None:
        return None

    def version(self) -> str | None:
        return "0-fake"
