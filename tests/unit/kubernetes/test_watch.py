"""The watch of this node's pods, with a server that fails as API servers do."""

from __future__ import annotations

import itertools
import json
import logging
import ssl
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trustme
from gotax.errors import ParseError, UserError
from gotax.kubernetes import api, watch
from gotax.kubernetes.api import KubeletAddress, connect, connect_kubelet, lines, parse_event
from gotax.kubernetes.connection import Answer, Client, PlainClient
from gotax.kubernetes.watch import PodWatch

from tests.patience import PATIENCE_S, promised

from .apiserver import END, ApiServer, api_server, bookmark, event, expired, pod

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_BACKOFF_S", (0.02, 0.1))


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as started:
        yield started


def connector(url: str, token: Path) -> Callable[[], Client]:
    return partial(PlainClient, url, token)


@contextmanager
def watching(
    tmp_path: Path, url: str, kubelet: Callable[[], Client] | None = None
) -> Iterator[PodWatch]:
    token = tmp_path / "token"
    if not token.exists():
        token.write_text("first")
    pods = PodWatch("n1", connector(url, token), kubelet)
    pods.start()
    try:
        yield pods
    finally:
        pods.close()


def wait(what: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def name(pods: PodWatch, container_id: str) -> str | None:
    found = pods.find(container_id)
    return found.path if found else None


def test_the_pods_of_this_node_are_followed(tmp_path: Path, server: ApiServer) -> None:
    """First all existing pods, then every change; the request is only for this node."""
    server.state = [pod("one", A), pod("two", B)]
    with watching(tmp_path, server.url) as pods:
        wait(lambda: name(pods, B) == "shop/two/web")
        server.say(event("ADDED", pod("three", C, "101")))
        wait(lambda: name(pods, C) == "shop/three/web")
        server.say(event("DELETED", pod("one", A, "102")))
        wait(lambda: pods.pod_cache.pods == 2)
        gone = pods.find(A)
        assert gone is not None
        assert (gone.path, gone.ended) == ("shop/one/web", True)
    asked = server.requests[0]
    assert asked["fieldSelector"] == "spec.nodeName=n1"
    assert (asked["path"], asked["watch"], asked["resourceVersion"]) == (
        "/api/v1/pods",
        "true",
        "0",
    )
    assert {request["path"] for request in server.requests} == {"/api/v1/pods"}


def test_a_watch_that_ends_continues_from_its_version(tmp_path: Path, server: ApiServer) -> None:
    """The server ends every watch after some minutes: the next starts at the last version."""
    server.state = [pod("one", A)]
    with watching(tmp_path, server.url) as pods:
        wait(lambda: name(pods, A))
        server.say(event("MODIFIED", pod("one", A, "123")), END)
        wait(lambda: server.watches == 2)
        server.say(event("ADDED", pod("two", B, "124")))
        wait(lambda: name(pods, B))
        assert [r["resourceVersion"] for r in server.requests] == ["0", "123"]
        assert (pods.counts, pods.starts) == ({}, 1)


def test_a_watch_that_ends_before_the_first_bookmark_lists_again(
    tmp_path: Path, server: ApiServer
) -> None:
    """The first events are in no order, so their versions are no point to continue from."""
    server.state, server.has_bookmarks = [pod("one", A, "99")], False
    with watching(tmp_path, server.url) as pods:
        wait(lambda: name(pods, A))
        server.say(END)
        wait(lambda: len(server.requests) > 1)
        assert server.requests[1]["resourceVersion"] == "0"


@pytest.mark.parametrize("way", ["event", "status"])
def test_an_expired_version_lists_again(tmp_path: Path, server: ApiServer, way: str) -> None:
    """410 Gone, as an event or as a status: all pods are listed again, and missing ones are
    deleted."""
    server.state = [pod("one", A), pod("two", B)]
    with watching(tmp_path, server.url) as pods:
        wait(lambda: name(pods, B))
        server.state = [pod("two", B), pod("three", C)]
        if way == "event":
            server.say(expired())
        else:
            server.expired_versions = {"100"}
            server.say(END)
        wait(lambda: name(pods, C))
        wait(lambda: pods.pod_cache.pods == 2)
        assert name(pods, A) == "shop/one/web"  # its last samples may still arrive
        assert pods.counts == {"kubernetes-expired": 1}
        assert pods.starts == 2


def test_a_rotated_token_is_read_again(tmp_path: Path, server: ApiServer) -> None:
    """The kubelet writes a new token every hour; the server refuses the old one."""
    server.state = [pod("one", A)]
    with watching(tmp_path, server.url) as pods:
        wait(lambda: name(pods, A))
        (tmp_path / "token").write_text("second")
        server.token = "second"
        server.say(END)
        wait(lambda: server.watches == 2)
        server.say(event("ADDED", pod("two", B, "200")))
        wait(lambda: name(pods, B))
        assert server.tokens[-1] == "second"
        assert pods.counts == {}


def test_names_stay_during_an_outage_and_new_ones_come_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage loses no names, and is logged once."""
    with api_server() as first:
        first.state = [pod("one", A)]
        with watching(tmp_path, first.url) as pods:
            wait(lambda: name(pods, A))
            with caplog.at_level(logging.INFO, "gotax.kubernetes"):
                first.stop()
                wait(lambda: pods.counts.get("kubernetes-api", 0) > 4)
            assert name(pods, A) == "shop/one/web"
            messages = [r.message for r in caplog.records if r.levelno == logging.WARNING]
            assert len(messages) == len(set(messages)) <= 2  # the watch, the connection
            with api_server(first.port) as second:
                second.state = [pod("one", A, "300"), pod("two", B, "301")]
                second.expired_versions = {"100"}  # the outage was long
                wait(lambda: name(pods, B) == "shop/two/web")
                assert name(pods, A) == "shop/one/web"
            first.stop = lambda: None  # type: ignore[method-assign]


def test_the_agent_may_start_before_the_server(tmp_path: Path) -> None:
    """Containers are named by their ids until then."""
    with api_server() as placeholder:
        port = placeholder.port
    with watching(tmp_path, f"http://127.0.0.1:{port}") as pods:
        wait(lambda: pods.counts.get("kubernetes-api", 0) > 2)
        assert name(pods, A) is None
        with api_server(port) as server:
            server.state = [pod("one", A)]
            wait(lambda: name(pods, A))


def test_a_dead_connection_is_replaced(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No data comes, not even a bookmark: the watch continues on another connection."""
    monkeypatch.setattr(api, "SILENCE_S", 0.2)
    server.state = [pod("one", A)]
    with watching(tmp_path, server.url) as pods:
        wait(lambda: len(server.requests) > 2)
        assert {r["resourceVersion"] for r in server.requests[1:]} == {"100"}
        assert (name(pods, A), pods.counts) == ("shop/one/web", {})


def test_the_kubelet_is_used_while_the_server_refuses(tmp_path: Path, server: ApiServer) -> None:
    """Without the permission, the pods come from the kubelet; it is asked only until the server
    accepts."""
    account = tmp_path / "account"
    account.mkdir()
    with api_server() as kubelet:
        server.refuse = 403
        kubelet.token = ""  # over plain HTTP no token is sent
        (account / "token").write_text("first")
        kubelet.state = [pod("one", A)]
        address = KubeletAddress(kubelet.url)
        with watching(tmp_path, server.url, partial(connect_kubelet, address, account)) as pods:
            wait(lambda: name(pods, A) == "shop/one/web")
            assert kubelet.tokens[-1] == ""
            kubelet.state = [pod("two", B)]
            wait(lambda: name(pods, B))
            server.state, server.refuse = [pod("two", B), pod("three", C)], None
            wait(lambda: name(pods, C))
            asked = len(kubelet.requests)
            time.sleep(0.3)
            assert len(kubelet.requests) == asked


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"[]\n",
        b'{"type": "ADDED", "object": {}}\n',
        b'{"type": "ERROR", "object": {"code": 500, "message": "etcd is away"}}\n',
        b'{"type": "ADDED", "object": ' + b"[" * 100_000 + b"\n",
        b"x" * (api.MAX_EVENT + 2),
        b'{"type": "ADDED", "object": [' + b"{}," * (api.MAX_VALUES // 2 + 1) + b"1]}\n",
    ],
    ids=["garbage", "list", "no pod", "error", "deep", "endless", "many values"],
)
def test_an_invalid_event_costs_one_connection(
    tmp_path: Path, server: ApiServer, line: bytes
) -> None:
    """It is counted, and the watch continues."""
    server.state = [pod("one", A)]
    with watching(tmp_path, server.url) as pods:
        wait(lambda: name(pods, A))
        server.say(line)
        wait(lambda: server.watches == 2)
        assert pods.counts == {"kubernetes-api": 1}
        server.say(event("ADDED", pod("two", B, "101")))
        wait(lambda: name(pods, B))


def test_an_invalid_pod_affects_only_itself(tmp_path: Path, server: ApiServer) -> None:
    """The watch continues."""
    with watching(tmp_path, server.url) as pods:
        wait(lambda: server.watches)
        odd = {"metadata": {"uid": "u", "resourceVersion": "5", "ownerReferences": 7}}
        server.say(event("ADDED", odd), event("ADDED", pod("one", A, "6")))
        wait(lambda: name(pods, A))
        assert pods.counts == {"kubernetes-pod": 1}


@promised(1)
def test_find_and_close_never_wait(tmp_path: Path, server: ApiServer, within_s: float) -> None:
    """Also with a server that accepts the connection and sends nothing."""
    server.has_bookmarks = False
    with watching(tmp_path, server.url) as pods:
        wait(lambda: server.requests)
        began = time.monotonic()
        for _ in range(10_000):
            pods.find(A)
        pods.close()
        assert time.monotonic() - began < within_s


def test_a_wrong_configuration_is_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No service account and no kubeconfig: one sentence with the remedy."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"KUBECONFIG.* or omit --node"):
        PodWatch("n1", connect)
    with pytest.raises(UserError, match="https://NODE:10250"):
        PodWatch("n1", None, partial(connect_kubelet, KubeletAddress("n1:10250")))


def test_lines_are_whole_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the network splits them."""
    assert list(lines([b"a", b"b\nc", b"\n\n", b"d"])) == [b"ab", b"c"]
    monkeypatch.setattr(api, "MAX_EVENT", 8)
    assert list(lines([b"123456789\n"])) == [b"123456789"]
    with pytest.raises(ParseError, match="pod-too-large"):
        list(lines([b"12345", b"6789"]))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_what_is_compressed_is_refused(server: ApiServer, encoding: str) -> None:
    """64 KB of it became 64 MB at once."""

    def compress(text: bytes) -> bytes:
        bomb = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
        return text if encoding == "identity" else bomb.compress(text) + bomb.flush()

    server.state, server.token = [pod("one", A)], ""
    server.encoding, server.compress = encoding, compress
    client = PlainClient(server.url)
    if encoding == "identity":
        assert len(api.list_pods(client)) == 1
    else:
        with pytest.raises(ParseError, match="pod-encoding"):
            api.list_pods(client)
        with pytest.raises(ParseError, match="pod-encoding"):
            list(api.watch_pods(client, "n1", "0"))
    assert set(server.accepted) == {"identity"}


def test_a_list_that_never_ends_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then held the thread for ever."""
    monkeypatch.setattr(api, "_LIST_S", 0.0)

    class Endless(PlainClient):
        @contextmanager
        def ask(self, *_: object) -> Iterator[Answer]:
            yield Answer(200, "OK", "identity", itertools.repeat(b" "))

    with pytest.raises(ParseError, match="pods-too-slow"):
        api.list_pods(Endless("http://kubelet"))


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a service account, in a pod."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    return folder


def secured(server: ApiServer, authority: trustme.CA) -> None:
    """The server speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.secure(context)


def test_in_a_pod_the_service_account_suffices(
    account: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the libraries that a kubeconfig takes. Only the cluster's CA is trusted."""
    monkeypatch.setitem(sys.modules, "gotax.kubernetes.kubeconfig", None)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    authority, other = trustme.CA(), trustme.CA()
    secured(server, authority)
    other.cert_pem.write_to_path(str(account / "ca.crt"))
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        next(api.watch_pods(connect(), "n1", "0"))
    authority.cert_pem.write_to_path(str(account / "ca.crt"))
    server.state = [pod("one", A)]
    assert next(api.watch_pods(connect(), "n1", "0")).kind == "ADDED"
    assert server.tokens == ["first"]


def test_a_kubelet_with_its_own_certificate(account: Path, server: ApiServer) -> None:
    """Most kubelets have one: it is accepted if the user says so, and the token is sent."""
    secured(server, trustme.CA())
    trustme.CA().cert_pem.write_to_path(str(account / "ca.crt"))
    url = server.url.replace("http:", "https:")
    with pytest.raises(ssl.SSLError):
        api.list_pods(connect_kubelet(KubeletAddress(url)))
    assert api.list_pods(connect_kubelet(KubeletAddress(url, is_trusted=True))) == []
    assert server.tokens == ["first"]


@pytest.mark.parametrize("missing", ["token", "proxy"])
def test_otherwise_the_kubeconfig_counts(
    account: Path,
    tmp_path: Path,
    server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
) -> None:
    """Without a service account, and where a proxy is to be used, which lightkube knows."""
    if missing == "token":
        (account / "token").unlink()
    else:
        (account / "ca.crt").write_text("")
        (account / "namespace").write_text("default")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
        (account / "token").unlink()
    user = {"name": "u", "user": {"token": "first"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": server.url}}],
                "users": [user],
                "contexts": [context],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(path))
    server.state = [pod("one", A)]
    pods = PodWatch("n1", connect)
    pods.start()
    try:
        wait(lambda: name(pods, A) == "shop/one/web")
        server.refuse = 403
        server.say(END)
        wait(lambda: pods.counts.get("kubernetes-api"))
    finally:
        pods.close()


def test_events_are_parsed() -> None:
    """A bookmark has a version and no useful pod."""
    assert parse_event(bookmark("7")).version == "7"
    assert parse_event(event("ADDED", pod("one", A, "3"))).kind == "ADDED"
    with pytest.raises(api.ExpiredError):
        parse_event(expired())
