"""The cluster's addresses: a corner of 127.0.0.0/8 that no other test cluster uses."""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Iterator

_LOCK_PORT = 49007


class LoopbackNetwork:
    """Addresses 127.N.x.y, N being this cluster's own until `release`.

    Pods share this host's network. What they bind to "every address" they bind to their own
    (`images.py`), so that each can have port 8080.
    """

    def __init__(self) -> None:
        self._lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._number = self._claim()
        self._pods: Iterator[int] = itertools.count(1)

    def _claim(self) -> int:
        for number in range(64, 120):
            try:
                self._lock.bind((f"127.{number}.0.1", _LOCK_PORT))
            except OSError:
                continue
            return number
        raise AssertionError("every loopback network is taken")

    def release(self) -> None:
        self._lock.close()

    def pod_address(self) -> str:
        """An address that no pod had before."""
        high, low = divmod(next(self._pods), 250)
        return f"127.{self._number}.{128 + high}.{low + 1}"

    def service_address(self, cluster_ip: str) -> str:
        """Where `service_proxy` listens for a service of 10.96.0.0/24."""
        low = ipaddress.ip_address(cluster_ip).packed[3]
        return f"127.{self._number}.96.{low}"
