"""The collector's metrics are what docs/collector.md says, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

from gotax.wire.listening import listening_socket
from gotax_collector.ingest.intake import Intake
from gotax_collector.ingest.limits import Limits
from gotax_collector.ingest.receiver import Admission, Identification, Receiver
from gotax_collector.metrics import Exposition
from gotax_collector.refusal import Reason
from gotax_collector.relay.limits import RelayLimits
from gotax_collector.relay.relay import Relay
from gotax_collector.security.certificates import CertificateFiles, Certificates

from .collecting import MemoryStore
from .conftest import Files

PAGE = Path(__file__).parents[2] / "docs/collector.md"


def test_the_page_lists_every_metric_with_type_and_labels(files: Files) -> None:
    """Names, types and labels; and every reason for a refusal."""
    intake = Intake(MemoryStore(), Limits())
    relay = Relay(listening_socket(("127.0.0.1", 0), 1), RelayLimits())
    receiver = Receiver(Identification("c", "1"), intake, Limits(), Admission(None, relay))
    certificates = Certificates(CertificateFiles(files.server_cert, files.server_key))
    exposition = Exposition(receiver, intake, certificates, "1")
    own = {}
    for family in exposition.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        own[name] = (family.type, tuple(sorted({k for s in family.samples for k in s.labels})))
    rows = re.findall(r"^\| `(gotax_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), re.MULTILINE)
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    }
    assert documented == own
    for reason in Reason:
        assert f"`{reason.value}`" in PAGE.read_text(), reason
