"""Authorities and certificates, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip(
    "gotax_collector.ingest.server", reason="the extra [collector] is not installed"
)
trustme = pytest.importorskip("trustme")


@dataclass(frozen=True)
class Files:
    """PEM files of one authority: the collector's, an agent's, and its own."""

    authority: str
    server_cert: str
    server_key: str
    agent_cert: str
    agent_key: str


def certified(folder: Path) -> Files:
    authority = trustme.CA()
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, identity in (("server", "127.0.0.1"), ("agent", "agent.example.com")):
        issued = authority.issue_cert(identity, "localhost")
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        (folder / f"{name}.pem").write_bytes(b"".join(p.bytes() for p in issued.cert_chain_pems))
    return Files(
        *(str(folder / name) for name in ("ca.pem", "server.pem", "server.key")),
        *(str(folder / name) for name in ("agent.pem", "agent.key")),
    )


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certified(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Of an authority that is not trusted."""
    return certified(tmp_path_factory.mktemp("strangers"))
