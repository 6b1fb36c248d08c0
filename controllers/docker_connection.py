"""A connection to the Docker engine, and what its errors mean to users."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker import DockerClient
from docker.errors import APIError, DockerException
from requests import RequestException

from controllers.base import DeploymentError
from controllers.docker_engine import docker_address, unavailable
from tuning.domain.failures import FailureKind

API_TIMEOUT_S = 30
"""For one answer of Docker's; it stops and removes a container within a second or two."""

_REFUSALS: tuple[tuple[str, FailureKind], ...] = (
    ("could not select device driver", FailureKind.ACCELERATOR_MISSING),
    ("nvidia-container-cli", FailureKind.ACCELERATOR_MISSING),
    ("unresolvable CDI devices", FailureKind.ACCELERATOR_MISSING),
    ("port is already allocated", FailureKind.PORT_TAKEN),
    ("address already in use", FailureKind.PORT_TAKEN),
    ("bind source path does not exist", FailureKind.MODEL_MISSING),
    ("executable file not found", FailureKind.IMAGE_MISSING),
)
"""What Docker's own refusals are known by, and what kind of failure each is."""


@contextmanager
def connection() -> Iterator[DockerClient]:
    """A connection to the engine for as long as the context lasts.

    Raises:
        DeploymentError: none answers, or it refuses what is asked of it.
    """
    address = docker_address()
    if address is None:
        raise _no_docker("DOCKER_HOST is not set, and there is no socket of Docker")
    try:
        environment = {**os.environ, "DOCKER_HOST": address}
        # Asks for its version at once, and so finds out whether it answers.
        client = docker.from_env(timeout=API_TIMEOUT_S, environment=environment)
    except Exception as error:
        # Errors of Docker's library, of the one for HTTP, or of the one for SSH.
        raise _away(address, error) from error
    try:
        yield client
    except APIError as error:
        raise _refused(error) from error
    except (DockerException, RequestException) as error:
        raise _away(address, error) from error
    finally:
        client.close()


def _no_docker(why: str) -> DeploymentError:
    return DeploymentError(FailureKind.ENGINE_MISSING, f"No Docker engine can be reached: {why}.")


def _away(address: str, error: Exception) -> DeploymentError:
    found = unavailable(address, error)
    return _no_docker(f"{address}: {str(found).rstrip('.')}. {found.hint.rstrip('.')}")


def _refused(error: APIError) -> DeploymentError:
    said = str(error.explanation or error)
    kind = next((kind for words, kind in _REFUSALS if words in said), FailureKind.CRASHED)
    return DeploymentError(kind, f"Docker refused the container: {said}")
