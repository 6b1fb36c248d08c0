"""`manage.py serve`: web server, worker and, where there is no Redis, an embedded one."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import sys
from argparse import ArgumentParser
from contextlib import closing
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from tuning.composition import take_back
from tuning.database import DatabaseNotReady, prepare_database
from tuning.serving.embedded_redis import NoEmbeddedRedis, embedded_redis_service
from tuning.serving.lock import AlreadyServing, ServeLock
from tuning.serving.services import Service, web_address, web_service, worker_service
from tuning.serving.supervisor import OWN_NAME, Console, Supervisor
from tuning.serving.unit import ServiceBroken
from tuning.terminal.console import output_console, print_plain
from tuning.terminal.session import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from tuning.web.first_user import first_user_path, nobody_can_sign_in

logger = logging.getLogger(__name__)

EXIT_BROKEN = 1
NAME_WIDTH = len("worker")


class CannotServe(Exception):
    """Nothing was started; the text says why."""


REFUSALS = (AlreadyServing, CannotServe, DatabaseNotReady, NoEmbeddedRedis)


class Command(BaseCommand):
    help = (
        "Serve the autotuner on this machine: web server, worker and, where REDIS_URL is not set, "
        "an embedded Redis. Ctrl-C stops all of them; running experiments go on after the next "
        "start. Exit code: 0 stopped, 1 a program did not come up, 2 refused."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8080, help="port to listen on")
        parser.add_argument(
            "--no-worker", action="store_true", help="run no experiments on this machine"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            serve(options["host"], options["port"], with_worker=not options["no_worker"])
        except REFUSALS as refusal:
            raise CommandError(str(refusal), returncode=EXIT_BAD_INPUT) from refusal
        except ServiceBroken as broken:
            raise CommandError(str(broken), returncode=EXIT_BROKEN) from broken
        except KeyboardInterrupt:
            # Before anything was started.
            sys.exit(EXIT_INTERRUPTED)


def serve(host: str, port: int, *, with_worker: bool) -> None:
    """Serve until this process is asked to stop.

    Raises:
        CannotServe, AlreadyServing, DatabaseNotReady, NoEmbeddedRedis: nothing was started.
        ServiceBroken: a program did not come up; nothing runs any more.
    """
    refuse_debug_for_others(host)
    console = Console(sys.stdout, NAME_WIDTH)
    with ServeLock(settings.DATA_DIR) as lock:
        lock.end_left_behind(console.writer(OWN_NAME))
        refuse_taken_port(host, port)
        prepare_database()
        way_in = first_way_in(host, port)
        # The children have connections of their own, and this process sits here for weeks.
        connection.close()
        supervisor = Supervisor(
            services(host, port, with_worker=with_worker), console, record=lock.record
        )
        warn_of_unknown_hosts(host, console)
        if way_in:
            console.write(OWN_NAME, way_in)
        try:
            supervisor.run()
        finally:
            if with_worker:
                clear_up()


def first_way_in(host: str, port: int) -> str:
    """Let the operator make the first user: here and now, or through a link that is returned.

    Empty when somebody can sign in. There is no default password.
    """
    if not nobody_can_sign_in():
        return ""
    if sys.stdin.isatty() and is_loopback(host):
        print_plain(output_console(), "Nobody can sign in yet. Make the first user:")
        call_command("createsuperuser", skip_checks=True)
        return ""
    address = web_address(host, port).rstrip("/") + first_user_path()
    return f"Nobody can sign in yet. Make the first user, once and within a day: {address}"


def services(host: str, port: int, *, with_worker: bool) -> list[Service]:
    """In the order in which they start. Raises NoEmbeddedRedis."""
    wanted = []
    if settings.REDIS_IS_EMBEDDED:
        wanted.append(embedded_redis_service(settings.AUTOTUNER_EMBEDDED_REDIS_SOCKET))
    wanted.append(web_service(host, port))
    if with_worker:
        wanted.append(worker_service())
    return wanted


def refuse_debug_for_others(host: str) -> None:
    """Raises CannotServe: Django's debug pages show settings and source to whoever asks."""
    if settings.DEBUG and not is_loopback(host):
        raise CannotServe(
            f"AUTOTUNER_DEBUG is on, and {host} can be reached from other machines: "
            "turn it off, or serve on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. Of a name only `localhost` is known to be that."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_taken_port(host: str, port: int) -> None:
    """Raises CannotServe."""
    if not 1 <= port <= 65535:
        raise CannotServe(f"--port {port}: a port is a number from 1 to 65535.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind)) as probe:
            # As the web server does it: lingering connections of an earlier one don't count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotServe(f"Port {port} is taken: choose another with --port.") from error
        raise CannotServe(f"Can't listen on {host} port {port}: {error}.") from error


def warn_of_unknown_hosts(host: str, console: Console) -> None:
    if not is_loopback(host) and all(is_loopback(name) for name in settings.ALLOWED_HOSTS):
        console.write(
            OWN_NAME, "Other machines are refused until AUTOTUNER_ALLOWED_HOSTS names this one."
        )


def clear_up() -> None:
    """Take back what a worker of this machine left that did not stop by itself."""
    try:
        take_back()
    except Exception:
        # The first sweep of the next worker does the same.
        logger.exception("clearing up failed")
    finally:
        connection.close()
