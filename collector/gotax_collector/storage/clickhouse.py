"""Connections to ClickHouse: the engine inside this process, or a server by its URL.

This is the only file that imports clickhouse-connect, and only when it opens a store. So
`gotax fleet` does not need the library to ask a collector. The engine and the server take the same
SQL and parameters.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from gotax.wire.addresses import Form, joined, parse_url

from gotax_collector.errors import CollectorError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

PASSWORD_VARIABLE = "GOTAX_STORE_PASSWORD"

MEMORY_BYTES = 1 << 30
"""The memory limit of the embedded engine, with its queries and merges."""
MEMORY_BYTES_MIN = 256 << 20  # with less the engine does not start, or never merges

# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp: what cannot be
# parsed, is of the wrong type or out of its range, or of columns that the table does not have.
_OF_DATA = frozenset(
    {*(6, 16, 20, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 128, 130, 131, 321, 349, 467, 691)}
)

_TOO_MANY_PARTS = 252

_FORM = Form(
    "a folder, http://HOST:8123/DATABASE or https://HOST:8443/DATABASE",
    {"http": 8123, "https": 8443},
    may_have_user=True,
    may_have_query=True,
)


class StoreUnavailableError(CollectorError):
    """No connection, or the database does not answer. The text is one sentence with the remedy."""


class QueryError(CollectorError):
    """A query failed. The text is the message of the database, in one line."""

    @property
    def code(self) -> int:
        """ClickHouse's number of the error; 0: it has none."""
        found = re.search(r"[Cc]ode: (\d{1,5})\b", str(self))
        return int(found[1]) if found else 0

    @property
    def is_of_memory(self) -> bool:
        return self.code == 241

    @property
    def is_of_data(self) -> bool:
        """The rows are at fault: the same insert would fail again."""
        if self.code == _TOO_MANY_PARTS:  # of the table: later there are fewer
            return "partitions for single INSERT" in str(self)
        return self.code in _OF_DATA


@dataclass(frozen=True, slots=True)
class Address:
    """Where the store is: a ``folder`` of this machine, or a server.

    ``cluster`` is a name of the server's remote_servers, "" for a single server.
    """

    folder: Path | None = None
    host: str = ""
    port: int = 8123
    secure: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = "gotax"
    cluster: str = ""
    memory_bytes: int = MEMORY_BYTES

    def __str__(self) -> str:
        """Without the password: this goes into logs."""
        if self.folder is not None:
            return str(self.folder)
        scheme = "https" if self.secure else "http"
        return f"{scheme}://{joined(self.host, self.port)}/{self.database}"


def parse_address(text: str, memory_bytes: int = MEMORY_BYTES, password: str = "") -> Address:
    """A folder, or ``http[s]://[user@]host[:port][/database][?cluster=NAME]``.

    ``password`` is that of a file or of the environment. ValueError: a URL of another kind, with a
    name that is not plain, or with a password: every user of this machine can read arguments.
    """
    # A folder with a colon in its first name is rare, and ./ before it says so; a server's address
    # without its scheme is not rare, and would be a new, empty folder.
    if not re.match("[^/]*:", text):
        if not text:
            raise ValueError(f"a store is a folder, or a URL: write {_FORM.example}")
        return Address(folder=Path(text), memory_bytes=memory_bytes)
    url = parse_url(text, _FORM)
    if url.password:
        raise ValueError(
            "a password in an argument can be read by every user of this machine:"
            f" put it into a file (--store-password-file) or into ${PASSWORD_VARIABLE}"
        )
    options = parse_qs(url.query)
    if set(options) - {"cluster"}:
        raise ValueError(
            f"a store's URL has no option but cluster=NAME: write {_FORM.example}?cluster=NAME"
        )
    address = Address(
        host=url.host,
        port=url.port,
        secure=url.scheme == "https",
        user=url.user,
        password=password,
        database=url.path.strip("/") or "gotax",
        cluster=options.get("cluster", [""])[0],
    )
    for name in (address.database, address.cluster or "x"):
        if not name.isidentifier() or not name.isascii():
            raise ValueError(
                "a database and a cluster have plain names, of letters, digits and _:"
                f" write {_FORM.example}"
            )
    return address


class Connections:
    """A few clients of one store, each used by one thread at a time.

    StoreUnavailableError: there is no such store, or another process has its folder.
    """

    _IDLE_MAX = 4

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()
        self._idle: list[Client] = []
        self._closed = False
        self._folder_lock = _lock(address.folder) if address.folder is not None else None
        try:
            first = self._open("default")
            try:
                on_cluster = f" ON CLUSTER `{address.cluster}`" if address.cluster else ""
                first.command(f"CREATE DATABASE IF NOT EXISTS {address.database}{on_cluster}")
            finally:
                first.close()
            self._idle.append(self._open(address.database))
        except BaseException as error:
            self._unlock()
            if isinstance(error, _mishaps()):
                raise StoreUnavailableError(
                    f"cannot use the store {address}: {sentence(error)}"
                ) from error
            raise

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """A client for the exclusive use of the caller."""
        with self._lock:
            if self._closed:
                raise StoreUnavailableError("the store is closed")
            client = self._idle.pop() if self._idle else None
        if client is None:
            client = self._open(self.address.database)
        try:
            yield client
        finally:
            with self._lock:
                keep = not self._closed and len(self._idle) < self._IDLE_MAX
                if keep:
                    self._idle.append(client)
            if not keep:
                client.close()

    def command(self, statement: str, settings: Mapping[str, Any] | None = None) -> None:
        with self.client() as client, _plainly():
            client.command(statement, settings=dict(settings or {}))

    def rows(
        self,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """``{name:Type}`` in the query stands for the bound parameter ``name``."""
        with self.client() as client, _plainly():
            result = client.query(query, dict(parameters or {}), settings=dict(settings or {}))
            return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    def columns(
        self,
        query: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[Sequence[Any]]:
        """The same, column by column: cheaper for many rows."""
        with self.client() as client, _plainly():
            given = dict(parameters or {})
            result = client.query(query, given, settings=dict(settings or {}), column_oriented=True)
            return list(result.result_columns)

    def insert(
        self, table: str, columns: Sequence[str], body: bytes, settings: Mapping[str, Any]
    ) -> None:
        """``body`` is JSONCompactEachRow: a row is a line, an array in the columns' order."""
        with self.client() as client, _plainly():
            client.raw_insert(
                table, columns, body, settings=dict(settings), fmt="JSONCompactEachRow"
            )

    def stop(self, token: str) -> None:
        """Stop the queries whose text contains the token, which has only hexadecimal digits.

        A server may not allow it. Then max_execution_time ends them.
        """
        statement = f"KILL QUERY WHERE query LIKE '%{token}%' ASYNC"
        with contextlib.suppress(QueryError):
            self.command(statement)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None

    def _open(self, database: str) -> Client:
        import clickhouse_connect

        address = self.address
        if address.folder is None:
            return clickhouse_connect.get_client(
                host=address.host,
                port=address.port,
                username=address.user or None,
                password=address.password,
                secure=address.secure,
                database=database,
                connect_timeout=5,
                send_receive_timeout=60,
                autogenerate_session_id=False,
            )
        return clickhouse_connect.get_client(
            interface="chdb",
            path=str(address.folder / "clickhouse"),
            database=database,
            chdb_options=engine_options(address.memory_bytes),
        )


def engine_options(memory_bytes: int) -> dict[str, int]:
    """Settings that limit the memory of the embedded engine. Caches and merges get little of it, so
    that most is left for inserts and queries. The names are ClickHouse's
    (https://clickhouse.com/docs/operations/server-configuration-parameters/settings)."""
    return {
        "max_server_memory_usage": memory_bytes,
        "merges_mutations_memory_usage_soft_limit": memory_bytes // 2,
        "mark_cache_size": memory_bytes // 16,
        "index_mark_cache_size": memory_bytes // 64,
        "primary_index_cache_size": memory_bytes // 64,
        "query_condition_cache_size": memory_bytes // 64,
        "compiled_expression_cache_size": memory_bytes // 64,
        "uncompressed_cache_size": 0,
        "index_uncompressed_cache_size": 0,
        "background_pool_size": 2,
        "background_schedule_pool_size": 2,
    }


def _lock(folder: Path) -> int:
    """Only one process may use a folder, and the engine's own error for it is unclear.

    The lock ends with this process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailableError(f"cannot use the store {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreUnavailableError(
            f"another process has the store {folder} open:"
            " ask the collector that runs (--collector), or stop it first"
        ) from error
    return descriptor


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    try:
        yield
    except ClickHouseError as error:
        raise QueryError(sentence(error)) from error


def _mishaps() -> tuple[type[BaseException], ...]:
    """Errors of opening a store, except a missing library."""
    try:
        from clickhouse_connect.driver.exceptions import ClickHouseError
    except ModuleNotFoundError:
        return (OSError,)
    return (ClickHouseError, OSError)


def sentence(error: BaseException) -> str:
    """ClickHouse's message in one short line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:299] + "…"
