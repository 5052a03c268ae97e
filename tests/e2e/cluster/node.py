"""A cluster of one node in a sandbox: etcd, the control plane, kubelet, kube-proxy, containerd."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.cluster.credentials import make_credentials
from tests.e2e.cluster.programs import NAMES
from tests.e2e.cluster.sandbox import ADDRESS, NAME, Sandbox, SandboxError

NODE = "node1"
PAUSE = "registry.k8s.io/pause:3.6"  # the version for containerd of Debian 12
_BIN = Path("/run/kubernetes")
_KEYS = Path("/etc/kubernetes/keys")
_PODS = "10.244.0.0/24"
_SERVICES = "10.96.0.0/16"
_API_SERVICE = "10.96.0.1"
_ETCD = "http://127.0.0.1:2379"
_CONTAINERD = "/run/containerd/containerd.sock"
_POLL_S = 0.2
# Helm writes to HOME.
_ENVIRONMENT = {"KUBECONFIG": str(_KEYS / "admin.conf"), "HOME": "/run/home"}


class Cluster:
    """Runs from its creation to ``close``. Raises SandboxError with the last lines of the logs."""

    def __init__(self, programs: Path, helm: Path, images: Sequence[Path], logs: Path) -> None:
        self.sandbox = Sandbox(logs)
        self.times_s: dict[str, float] = {}
        started_s = time.monotonic()
        try:
            self._bring_up(programs, helm, images, started_s)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.sandbox.close()

    def environment(self) -> list[str]:
        """The environment with which kubectl and helm find the cluster, as NAME=VALUE."""
        path = f"{_BIN}:{os.environ['PATH']}"
        return [f"{name}={value}" for name, value in {**_ENVIRONMENT, "PATH": path}.items()]

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return self.run(str(_BIN / "kubectl"), *arguments, stdin=stdin, check=check)

    def get(self, *arguments: str) -> dict[str, Any]:
        """``kubectl get`` as a dictionary."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, *objects: Mapping[str, Any]) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def helm(self, *arguments: str, check: bool = True) -> str:
        return self.run(str(_BIN / "helm"), *arguments, check=check)

    def fetch(self, url: str, timeout_s: float = 10) -> str:
        """An address of a pod or the node. Raises SandboxError."""
        return self.run("curl", "-sSf", "--max-time", str(timeout_s), url)

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """The output of ``command`` inside. Raises SandboxError if it fails."""
        done = subprocess.run(
            self.sandbox.command(*command),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, **_ENVIRONMENT},
        )
        if check and done.returncode:
            text = f"{done.stdout.strip()}\n{done.stderr.strip()}".strip()
            raise SandboxError(f"{' '.join(command)[:200]}: {text[-3000:]}")
        return done.stdout

    def wait_for(self, what: str, is_true: Callable[[], object], timeout_s: float = 60) -> None:
        """Waits until ``is_true``; a SandboxError counts as no."""
        deadline = time.monotonic() + timeout_s
        last: object = None
        while time.monotonic() < deadline:
            try:
                last = is_true()
            except SandboxError as error:
                last = error
            if last and not isinstance(last, SandboxError):
                return
            time.sleep(_POLL_S)
        raise SandboxError(f"after {timeout_s:g} s still not: {what} ({last})\n{self.last_words()}")

    def last_words(self) -> str:
        """The last lines of every log, and which programs have ended."""
        lines = [f"ended by themselves: {self.sandbox.ended() or 'none'}"]
        for log in sorted(self.sandbox.logs.glob("*.log")):
            lines += [f"── {log.name}", *log.read_text(errors="replace").splitlines()[-6:]]
        return "\n".join(lines)

    def kill_control_plane(self) -> None:
        """Kills the API server as a power failure would; also controllers and scheduler, which
        would lose their lease and end."""
        for name in ("kube-apiserver", *_FOLLOWERS):
            self.sandbox.kill(name)

    def start_control_plane(self) -> None:
        """Returns when it is back."""
        self.sandbox.start("kube-apiserver", *_API_SERVER)
        self.wait_for("the API server is ready", self.is_api_ready, 120)
        for name, command in _FOLLOWERS.items():
            self.sandbox.start(name, *command)

    def is_api_ready(self) -> bool:
        return self.kubectl("get", "--raw", "/readyz", "--request-timeout=2s") == "ok"

    def _bring_up(
        self, programs: Path, helm: Path, images: Sequence[Path], started_s: float
    ) -> None:
        def mark(what: str) -> None:
            self.times_s[what] = round(time.monotonic() - started_s, 1)

        start, root = self.sandbox.start, self.sandbox.root
        _write_files(root, programs, helm)
        start("containerd", "containerd", "--config", "/etc/containerd/e2e.toml")
        start("etcd", *_ETCD_SERVER)
        start("kube-apiserver", *_API_SERVER)
        self.wait_for("containerd answers", lambda: self.run("ctr", "version"))
        for image in images:
            self.import_image(image)
        mark("images imported")
        self.wait_for("the API server is ready", self.is_api_ready, 120)
        mark("API server ready")
        for name, command in _FOLLOWERS.items():
            start(name, *command)
        start("kubelet", *_KUBELET)
        start("kube-proxy", *_PROXY)
        self.wait_for("the node is ready", self._is_node_ready, 120)
        mark("node ready")
        # Pods are refused before.
        self.wait_for(
            "there is a default service account",
            lambda: self.kubectl("get", "serviceaccount", "default", "--ignore-not-found"),
        )
        # Any answer is enough, also 401 or 403.
        url = f"https://{_API_SERVICE}/version"
        self.wait_for("kube-proxy serves", lambda: self.run("curl", "-sk", "-m", "2", url))
        mark("ready")

    def import_image(self, archive: Path) -> None:
        self.run("ctr", "-n", "k8s.io", "images", "import", str(archive))

    def _is_node_ready(self) -> bool:
        conditions = self.get("node", NODE)["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _write_files(root: Path, programs: Path, helm: Path) -> None:
    """``root`` is the sandbox's /, seen from outside."""

    def at(path: Path | str) -> Path:
        return root / str(path).lstrip("/")

    make_credentials(at(_KEYS), _KEYS, ADDRESS, _API_SERVICE, NODE)
    at(_BIN).mkdir()
    at("/run/home").mkdir()
    for name in NAMES:
        at(_BIN / name).symlink_to(programs)
    at(_BIN / "helm").symlink_to(helm)
    at("/etc/containerd").mkdir(exist_ok=True)
    at("/etc/containerd/e2e.toml").write_text(_CONTAINERD_CONFIG)
    at("/etc/cni/net.d/10-e2e.conflist").write_text(json.dumps(_CNI))
    at("/etc/kubernetes/kubelet.yaml").write_text(json.dumps(_KUBELET_CONFIG))
    at("/etc/kubernetes/proxy.yaml").write_text(json.dumps(_PROXY_CONFIG))
    # No pod resolves names; the host's file may be a link to another /run.
    at("/etc/kubernetes/resolv.conf").write_text(f"nameserver {ADDRESS}\n")


def _key(name: str) -> str:
    return str(_KEYS / name)


_ETCD_SERVER = (
    *(str(_BIN / "etcd"), "--data-dir=/run/etcd", "--unsafe-no-fsync"),
    *(f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}"),
    *("--listen-peer-urls=http://127.0.0.1:2380", "--log-level=warn"),
)
_API_SERVER = (
    str(_BIN / "kube-apiserver"),
    f"--etcd-servers={_ETCD}",
    f"--advertise-address={ADDRESS}",
    f"--service-cluster-ip-range={_SERVICES}",
    f"--client-ca-file={_key('authority.crt')}",
    f"--tls-cert-file={_key('apiserver.crt')}",
    f"--tls-private-key-file={_key('apiserver.key')}",
    f"--kubelet-client-certificate={_key('kubelet-client.crt')}",
    f"--kubelet-client-key={_key('kubelet-client.key')}",
    f"--kubelet-certificate-authority={_key('authority.crt')}",
    "--kubelet-preferred-address-types=InternalIP",
    f"--token-auth-file={_key('tokens.csv')}",
    "--service-account-issuer=https://kubernetes.default.svc",
    f"--service-account-key-file={_key('accounts.key')}",
    f"--service-account-signing-key-file={_key('accounts.key')}",
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    # MutatingAdmissionPolicy, which is off by default before 1.36.
    "--feature-gates=MutatingAdmissionPolicy=true",
    "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
    "--allow-privileged=true",  # the baseline, which the chart does not need
)
_CONTROLLERS = (
    str(_BIN / "kube-controller-manager"),
    f"--kubeconfig={_key('controllers.conf')}",
    f"--service-account-private-key-file={_key('accounts.key')}",
    f"--root-ca-file={_key('authority.crt')}",
    "--use-service-account-credentials",
    "--leader-elect=false",
)
_SCHEDULER = (
    str(_BIN / "kube-scheduler"),
    f"--kubeconfig={_key('scheduler.conf')}",
    "--leader-elect=false",
)
_FOLLOWERS = {"kube-controller-manager": _CONTROLLERS, "kube-scheduler": _SCHEDULER}
_KUBELET = (
    str(_BIN / "kubelet"),
    "--config=/etc/kubernetes/kubelet.yaml",
    f"--kubeconfig={_key('node.conf')}",
    f"--hostname-override={NODE}",
    f"--node-ip={ADDRESS}",
)
_PROXY = (str(_BIN / "kube-proxy"), "--config=/etc/kubernetes/proxy.yaml")

_KUBELET_CONFIG = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": _key("authority.crt")},
    },
    "authorization": {"mode": "Webhook"},
    "tlsCertFile": _key("kubelet.crt"),
    "tlsPrivateKeyFile": _key("kubelet.key"),
    "cgroupDriver": "cgroupfs",
    "cgroupRoot": f"/{NAME}",  # so that objects of this run can be recognised
    "failCgroupV1": False,
    "failSwapOn": False,
    "containerRuntimeEndpoint": f"unix://{_CONTAINERD}",
    "resolvConf": "/etc/kubernetes/resolv.conf",
    # A full disk of the host does not concern the tests.
    "imageGCHighThresholdPercent": 100,
    "imageGCLowThresholdPercent": 99,
    "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
    "syncFrequency": "10s",
}
_PROXY_CONFIG = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clientConnection": {"kubeconfig": _key("proxy.conf")},
    "mode": "iptables",
    "hostnameOverride": NODE,
    "clusterCIDR": _PODS,
    # These settings apply to the whole host.
    "conntrack": {
        "maxPerCore": 0,
        "min": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
    },
}
_CNI = {
    "cniVersion": "0.4.0",
    "name": "e2e",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": _PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}
_CONTAINERD_CONFIG = f"""
version = 2
[grpc]
  address = "{_CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # A host that is a container or a small VM may lack CAP_SYS_RESOURCE, and AppArmor's tools.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""
