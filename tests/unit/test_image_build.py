"""The settings of this host that a build of an image gets (tests/e2e/cluster/images.py)."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.cluster.images import pip_settings, trusted_certificates


def test_a_build_trusts_the_same_authorities_as_pip(tmp_path: Path) -> None:
    for name in ("weak", "strong", "programs"):
        (tmp_path / name).touch()
    listed = f"global.cert='{tmp_path}/weak'\n"
    assert trusted_certificates(listed, {}) == tmp_path / "weak"
    listed += f":env:.cert='{tmp_path}/strong'\n"
    assert trusted_certificates(listed, {}) == tmp_path / "strong"
    assert trusted_certificates("", {"SSL_CERT_FILE": f"{tmp_path}/programs"}) == (
        tmp_path / "programs"
    )
    gone = {"REQUESTS_CA_BUNDLE": f"{tmp_path}/gone", "SSL_CERT_FILE": f"{tmp_path}/programs"}
    assert trusted_certificates("", gone) == tmp_path / "programs"


def test_a_build_does_not_cover_a_file_of_the_package_ca_certificates() -> None:
    """The package moves its own bundle there, which fails if something is mounted at this path."""
    assert "cert = /mnt/" in pip_settings("", with_ca=True)


def test_a_host_without_settings_passes_none() -> None:
    assert pip_settings("", with_ca=False) == "[global]\n"


def test_a_build_uses_the_package_index_of_this_host() -> None:
    listed = (
        ":env:.default-timeout='180'\n"
        ":env:.find-links='/opt/wheels'\n"
        ":env:.index-url='https://mirror.example/simple'\n"
        "global.cert='/etc/ssl/own.crt'\n"
        "global.index-url='https://other.example/simple'\n"
        "global.extra-index-url='https://a.example/\\nhttps://b.example/'\n"
        "download.index-url='https://third.example/simple'\n"
    )
    assert pip_settings(listed, with_ca=False) == (
        "[global]\n"
        "extra-index-url = https://a.example/\n    https://b.example/\n"
        "index-url = https://mirror.example/simple\n"
        "default-timeout = 180\n"
    )
