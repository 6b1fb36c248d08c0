"""Settings from environment variables, refusing odd values loudly.

Every variable is listed in docs/SETTINGS.md; a test keeps the two in step.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

READ_VARIABLES: set[str] = set()
"""Names of all variables that were looked at, so that a test can find an undocumented one."""


def text(name: str, default: str = "") -> str:
    READ_VARIABLES.add(name)
    return os.environ.get(name, default).strip()


def boolean(name: str, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name}={value!r} is not a yes or no: use true or false.")


def integer(name: str, default: int, *, at_least: int) -> int:
    value = text(name)
    if not value:
        return default
    try:
        number = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number.") from None
    if number < at_least:
        raise ImproperlyConfigured(f"{name}={number} is too small: at least {at_least}.")
    return number


def port_range(name: str, default: tuple[int, int]) -> tuple[int, int]:
    """Two ports as `first-last`, both included."""
    value = text(name)
    if not value:
        return default
    first, dash, last = value.partition("-")
    if not dash or not first.isdigit() or not last.isdigit():
        raise ImproperlyConfigured(f"{name}={value!r} is not a port range: write 8000-8100.")
    ports = int(first), int(last)
    if not 1024 <= ports[0] <= ports[1] <= 65535:
        raise ImproperlyConfigured(
            f"{name}={value!r} is not a port range: from 1024 to 65535, the smaller one first."
        )
    return ports


def one_of(name: str, choices: Sequence[str]) -> str:
    """One of some words; the first where none is given."""
    value = text(name) or choices[0]
    if value not in choices:
        raise ImproperlyConfigured(f"{name}={value!r} is none of {', '.join(choices)}.")
    return value


def card_indices(name: str) -> tuple[int, ...] | None:
    """Indices as `0,1,4`, or `none`; None where nothing is given."""
    value = text(name)
    if not value:
        return None
    parts = [] if value == "none" else [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ImproperlyConfigured(f"{name}={value!r} is no list of cards: write 0,1 or none.")
    return tuple(sorted({int(part) for part in parts}))


def ulimits(name: str) -> dict[str, int]:
    """Limits as `memlock=-1,stack=67108864`; none where nothing is given."""
    limits: dict[str, int] = {}
    for part in names(name, []):
        limit, equals, value = part.partition("=")
        digits = value.removeprefix("-")
        if not (equals and limit and digits.isascii() and digits.isdigit()):
            raise ImproperlyConfigured(f"{name}: {part!r} is no limit: write memlock=-1.")
        limits[limit] = int(value)
    return limits


def labels(name: str) -> dict[str, str]:
    """Labels of Kubernetes as `pool=tuning,zone=a`; none where nothing is given."""
    found: dict[str, str] = {}
    for part in names(name, []):
        label, equals, value = (piece.strip() for piece in part.partition("="))
        if not (equals and label):
            raise ImproperlyConfigured(f"{name}: {part!r} is no label: write pool=tuning.")
        found[label] = value
    return found


def tolerations(name: str) -> tuple[dict[str, str], ...]:
    """Taints to tolerate, spelt as kubectl does: `nvidia.com/gpu:NoSchedule,pool=tuning:NoExecute`.

    Without a value, any is tolerated; without an effect, all are.
    """
    return tuple(_toleration(name, part) for part in names(name, []))


def _toleration(name: str, taint: str) -> dict[str, str]:
    pair, colon, effect = taint.partition(":")
    key, equals, value = pair.partition("=")
    if not key or (colon and effect not in _TAINT_EFFECTS):
        raise ImproperlyConfigured(
            f"{name}: {taint!r} is no taint: write key:NoSchedule or key=value:NoSchedule, with "
            f"one of {', '.join(_TAINT_EFFECTS)}."
        )
    found = {"key": key, "operator": "Equal", "value": value} if equals else {"key": key}
    found = found if equals else found | {"operator": "Exists"}
    return found | ({"effect": effect} if colon else {})


def model_storage(name: str) -> dict[str, str] | None:
    """`hub`, `pvc://claim/folder`, or None where nothing is given."""
    value = text(name)
    if not value:
        return None
    if value == "hub":
        return {"source": "hub"}
    claim, _, folder = value.removeprefix("pvc://").partition("/")
    if not value.startswith("pvc://") or not claim:
        raise ImproperlyConfigured(f"{name}={value!r} is neither hub nor pvc://claim/folder.")
    return {"source": "pvc", "claim": claim, "folder": folder.strip("/")}


def names(name: str, default: list[str]) -> list[str]:
    value = text(name)
    return [part.strip() for part in value.split(",") if part.strip()] if value else default


def data_directory() -> Path:
    """Where the database, logs, models and results live; made if it is not there.

    Raises:
        ImproperlyConfigured: it can't be made or written.
    """
    path = _data_path()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The data directory {path} can't be made ({error.strerror}): "
            "name another with AUTOTUNER_DATA_DIR."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(
            f"The data directory {path} is not writable: name another with AUTOTUNER_DATA_DIR."
        )
    return path


def _data_path() -> Path:
    """As named, else by the XDG base directory specification."""
    own = text("AUTOTUNER_DATA_DIR")
    if own:
        return Path(own).expanduser().resolve()
    xdg = text("XDG_DATA_HOME")
    base = Path(xdg) if xdg and Path(xdg).is_absolute() else Path.home() / ".local" / "share"
    return base / "inference-autotuner"


def secret_key(data_dir: Path) -> str:
    """Django's signing key: given, or made once and kept where only this user can read it."""
    given = text("AUTOTUNER_SECRET_KEY")
    if given:
        return given
    path = data_dir / "secret_key"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(50))
    return path.read_text().strip()


def instance_name(data_dir: Path) -> str:
    """What tells this installation's engines from another's: eight hexadecimal digits."""
    given = text("AUTOTUNER_INSTANCE")
    if given:
        if not (given.isalnum() and given.islower() and len(given) <= 16):
            raise ImproperlyConfigured(
                f"AUTOTUNER_INSTANCE={given!r} must be up to 16 lower-case letters and digits."
            )
        return given
    path = data_dir / "instance"
    if not path.exists():
        fresh = data_dir / f"instance.{os.getpid()}"
        fresh.write_text(secrets.token_hex(4))
        try:
            # A link fails where the name exists, so that of two first starts one name wins.
            path.hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


def socket_path(data_dir: Path, instance: str) -> Path:
    """Where the embedded Redis-compatible server listens: in the data directory if that fits.

    A unix socket's path holds at most 107 bytes (`man 7 unix`).
    """
    path = data_dir / "redis.sock"
    if len(os.fsencode(path)) <= 100:
        return path
    return Path(tempfile.gettempdir()) / f"autotuner-{instance}.sock"
