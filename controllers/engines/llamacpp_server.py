"""The embedded engine: llama.cpp's HTTP server out of the wheel xllamacpp, as its own process.

    python -m controllers.engines.llamacpp_server --model FILE.gguf --port 8000 --parallel 8

Takes llama-server's own flag names. Exit codes: 0 after SIGTERM or SIGINT, 1 when the model or the
port is not to be had, 2 for an unknown flag or a bad value.
"""

from __future__ import annotations

import argparse
import errno
import operator
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import xllamacpp

from controllers.engines.llamacpp_flags import FLAGS, Member, ServerFlag, Whole

GGUF_MAGIC = b"GGUF"
NOWHERE = f"{os.devnull}/"
"""llama.cpp erases slots on request only where it may also save them to a directory. Nothing can be
saved in this one."""


class StartupError(Exception):
    """The server can't start, through no fault of the command line's form."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve until a signal comes."""
    options = vars(parser().parse_args(arguments))
    try:
        require_gguf(Path(options["model"]))
        require_free_port(options["host"], options["port"])
        server = start(params_from(options))
    except StartupError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(1)
    # Before it is said that it listens: whoever reads that may ask it to end at once.
    end_on_signals()
    print(f"listening on {server.listening_address}", flush=True)  # noqa: T201
    while True:
        signal.pause()


def parser() -> argparse.ArgumentParser:
    """All flags of the table; what is not given is left as llama.cpp has it."""
    result = argparse.ArgumentParser(
        prog="llamacpp_server",
        description="llama.cpp's HTTP server, with llama-server's flags",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    result.add_argument("--model", "-m", required=True, help="GGUF file to serve")
    result.add_argument("--alias", "-a", default="", help="name of the model for clients")
    result.add_argument("--host", default="127.0.0.1", help="address to listen on")
    result.add_argument("--port", type=Whole(1, 65535), default=8080, help="port to listen on")
    for flag in FLAGS:
        add_flag(result, flag)
    return result


def add_flag(to: argparse.ArgumentParser, flag: ServerFlag) -> None:
    help_text = f"{flag.meaning} (default: {flag.default})".replace("%", "%%")
    destination = flag.names[0]
    if flag.is_switch:
        to.add_argument(
            *flag.names, dest=destination, action="store_const", const=flag.constant, help=help_text
        )
        return
    assert flag.reader is not None
    metavar = "|".join(flag.values) or "N"
    if flag.bare is not None:
        to.add_argument(
            *flag.names,
            dest=destination,
            type=flag.reader,
            nargs="?",
            const=flag.reader(flag.bare),
            metavar=metavar,
            help=help_text,
        )
        return
    to.add_argument(
        *flag.names, dest=destination, type=flag.reader, metavar=metavar, help=help_text
    )


def params_from(options: Mapping[str, Any]) -> xllamacpp.CommonParams:
    """llama.cpp's parameters for parsed `options`.

    `CommonParams` begins with the library's defaults, which are llama-server's but for the number
    of slots: there llama-server starts with -1, "choose yourself".
    """
    params = xllamacpp.CommonParams()
    params.n_parallel = -1
    params.model.path = options["model"]
    params.hostnames = [options["host"]]
    params.port = options["port"]
    params.slot_save_path = NOWHERE
    if options["alias"]:
        params.model_alias = {options["alias"]}
    for flag in FLAGS:
        if flag.names[0] in options:
            for target in flag.targets:
                set_target(params, target, options[flag.names[0]])
    return params


def set_target(params: xllamacpp.CommonParams, target: str, value: Any) -> None:
    """Set the attribute at the dotted path `target`."""
    *parents, name = target.split(".")
    owner = operator.attrgetter(".".join(parents))(params) if parents else params
    if isinstance(value, Member):
        value = getattr(getattr(xllamacpp, value.enum), value.name)
    if isinstance(value, list):
        # The library's lists have a fixed length; the rest stays as it is.
        value = [*value, *getattr(owner, name)[len(value) :]]
    setattr(owner, name, value)


def require_gguf(model: Path) -> None:
    """The library only says that it failed to load a model; this tells the common reasons."""
    try:
        with model.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
    except FileNotFoundError:
        raise StartupError(f"no such model file: {model}") from None
    except OSError as error:
        raise StartupError(f"the model file {model} can't be read: {error.strerror}") from None
    if magic != GGUF_MAGIC:
        raise StartupError(f"{model} is not a GGUF file")


def require_free_port(host: str, port: int) -> None:
    """Fail before the model is loaded: the library tells a taken port only by a log line."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: a port whose last connections are in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = (
            "is taken" if error.errno == errno.EADDRINUSE else f"can't be used: {error.strerror}"
        )
        raise StartupError(f"port {port} on {host} {reason}") from None


def start(params: xllamacpp.CommonParams) -> xllamacpp.Server:
    """Load the model and listen. Takes as long as reading the model does.

    Signals keep their default action meanwhile: a Python handler would only run once the library
    returns, and loading a large model takes minutes.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise StartupError(f"the server did not start: {error}") from error


def end_on_signals() -> None:
    """SIGTERM and SIGINT end the process at once, from now on."""

    def end(_signal_number: int, _frame: FrameType | None) -> NoReturn:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: the library's destructor waits for the requests that are under way, and
        # nothing here has to be saved.
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


if __name__ == "__main__":
    main()
