"""Identities of the cluster: a certificate authority, two certificates, a token for each client."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path

CLIENTS = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
"""User and group, with kubeadm's names."""


def make_credentials(written: Path, seen: Path, address: str, service: str, node: str) -> None:
    """Writes them all to ``written``, which has the path ``seen`` inside the sandbox.

    authority, apiserver, kubelet and kubelet-client (.crt, .key), accounts.key (which signs the
    tokens of service accounts), tokens.csv, and a kubeconfig for each of CLIENTS and node (.conf).
    """
    written.mkdir(parents=True)
    written.chmod(0o700)
    _openssl(written, "ecparam -name prime256v1 -genkey -noout -out authority.key")
    _openssl(
        written,
        "req -x509 -new -key authority.key -subj /CN=gotax-e2e -days 30 -out authority.crt"
        " -addext keyUsage=critical,keyCertSign,digitalSignature",
    )
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
    others = ",".join([f"DNS:{name}" for name in names] + [f"IP:{ip}" for ip in (address, service)])
    _certify(written, "apiserver", "/CN=kube-apiserver", f"{others},IP:127.0.0.1")
    _certify(written, "kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "")
    _certify(written, "kubelet", f"/CN=system:node:{node}", f"DNS:{node},IP:{address}")
    _openssl(written, "genrsa -out accounts.key 2048")
    tokens = []
    for name, (user, group) in {
        **CLIENTS,
        "node": (f"system:node:{node}", "system:nodes"),
    }.items():
        token = secrets.token_hex(16)
        tokens.append(f"{token},{user},{user}" + (f",{group}" if group else ""))
        config = _kubeconfig(f"https://{address}:6443", str(seen / "authority.crt"), token)
        (written / f"{name}.conf").write_text(json.dumps(config))
    (written / "tokens.csv").write_text("\n".join(tokens) + "\n")


def _certify(folder: Path, name: str, subject: str, others: str) -> None:
    extensions = ["extendedKeyUsage=serverAuth,clientAuth"]
    extensions += [f"subjectAltName={others}"] if others else []
    (folder / f"{name}.ext").write_text("\n".join(extensions) + "\n")
    _openssl(folder, f"ecparam -name prime256v1 -genkey -noout -out {name}.key")
    _openssl(folder, f"req -new -key {name}.key -subj {subject} -out {name}.csr")
    _openssl(
        folder,
        f"x509 -req -in {name}.csr -CA authority.crt -CAkey authority.key -CAcreateserial"
        f" -days 30 -extfile {name}.ext -out {name}.crt",
    )


def _kubeconfig(server: str, authority: str, token: str) -> dict[str, object]:
    """JSON is also YAML."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "e2e", "cluster": {"server": server, "certificate-authority": authority}}
        ],
        "users": [{"name": "e2e", "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
        "current-context": "e2e",
    }


def _openssl(folder: Path, line: str) -> None:
    subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
