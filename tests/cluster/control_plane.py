"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, on free loopback ports."""

from __future__ import annotations

import ssl
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.binaries import Binaries
from tests.cluster.certificates import Authority, Pair
from tests.serving.conftest import free_port

READY_WITHIN_S = 90.0
STOPPED_WITHIN_S = 10.0

LEFT_OUT = (
    # Nodes have no kubelet that beats, and pods have loopback addresses, which Endpoints refuse.
    *("nodelifecycle", "nodeipam", "cloud-node-lifecycle", "route", "service", "attachdetach"),
    *("endpoint", "endpointslice", "endpointslicemirroring", "bootstrapsigner", "tokencleaner"),
)


@dataclass
class ControlPlane:
    """Kubernetes without nodes. `directory` holds its keys, its data and what the servers print."""

    binaries: Binaries
    directory: Path
    authority: Authority = field(init=False)
    admin: Pair = field(init=False)
    url: str = field(init=False)
    kubeconfig: Path = field(init=False)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_api(self) -> None:
        """Start etcd and the API server, and wait until it says that it is ready."""
        self.authority = Authority.create(self.directory / "keys")
        self.admin = self.authority.issue("admin", organization="system:masters")
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        self.kubeconfig = self.kubeconfig_of("admin", self.admin)
        etcd_url = self._start_etcd()
        self._start_apiserver(etcd_url, port)
        self._wait_until_ready()

    def start_controllers(self) -> None:
        """Start the rest. The garbage collector knows the kinds of objects that exist by now."""
        config = f"--kubeconfig={self.kubeconfig}"
        self._start(
            "kube-controller-manager",
            self.binaries.controller_manager,
            *(config, "--port=0", "--secure-port=0", "--leader-elect=false"),
            f"--controllers=*,{','.join(f'-{name}' for name in LEFT_OUT)}",
            *("--kube-api-qps=200", "--kube-api-burst=400"),
        )
        self._start(
            "kube-scheduler",
            self.binaries.scheduler,
            *(config, "--port=0", "--secure-port=0", "--leader-elect=false"),
            *("--kube-api-qps=200", "--kube-api-burst=400"),
        )

    def stop(self) -> None:
        """End every server that runs, the latest first."""
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def client_tls(self) -> ssl.SSLContext:
        """The administrator's side of a connection to the API server."""
        context = ssl.create_default_context(cafile=self.authority.pair.certificate)
        context.load_cert_chain(self.admin.certificate, self.admin.key)
        return context

    def kubeconfig_of(self, user: str, pair: Pair) -> Path:
        """Write a kubeconfig whose only context has the name `user`."""
        cluster = {
            "server": self.url,
            "certificate-authority": str(self.authority.pair.certificate),
        }
        keys = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": keys}],
            "contexts": [{"name": user, "context": {"cluster": "test", "user": user}}],
            "current-context": user,
        }
        path = self.directory / f"{user}.kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    def _start_etcd(self) -> str:
        url, peer_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._start(
            "etcd",
            self.binaries.etcd,
            f"--data-dir={self.directory / 'etcd'}",
            *(f"--listen-client-urls={url}", f"--advertise-client-urls={url}"),
            *(f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}"),
            f"--initial-cluster=default={peer_url}",
            "--log-level=error",
        )
        return url

    def _start_apiserver(self, etcd_url: str, port: int) -> None:
        serving = self.authority.issue("kube-apiserver")
        to_kubelet = self.authority.issue("kube-apiserver-kubelet-client")
        accounts = self.authority.issue("service-accounts")
        self._start(
            "kube-apiserver",
            self.binaries.apiserver,
            f"--etcd-servers={etcd_url}",
            *("--bind-address=127.0.0.1", f"--secure-port={port}"),
            *("--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"),
            f"--cert-dir={self.directory / 'apiserver'}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.pair.certificate}",
            f"--kubelet-certificate-authority={self.authority.pair.certificate}",
            f"--kubelet-client-certificate={to_kubelet.certificate}",
            f"--kubelet-client-key={to_kubelet.key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={accounts.key}",
            f"--service-account-key-file={accounts.certificate}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
        )

    def _start(self, name: str, program: Path, *arguments: str) -> None:
        # If the test run is killed, its servers go too.
        command = ["setpriv", "--pdeathsig", "KILL", str(program), *arguments]
        with (self.directory / f"{name}.log").open("wb") as output:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        with httpx.Client(verify=self.client_tls(), trust_env=False, timeout=5) as client:
            while not self._is_ready(client):
                for name, process in self._processes.items():
                    assert process.poll() is None, f"{name} ended: {self.last_lines_of(name)}"
                assert time.monotonic() < deadline, self.last_lines_of("kube-apiserver")
                time.sleep(0.1)

    def _is_ready(self, client: httpx.Client) -> bool:
        try:
            return client.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def last_lines_of(self, name: str) -> str:
        """What a server printed last."""
        lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-30:])
