"""The routes: web pages, the JSON API, and the paths for probes and Prometheus."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gotax.page import SCRIPTS
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gotax_collector.errors import CollectorError
from gotax_collector.http import comparing, drawing
from gotax_collector.http.api import HOURS_PER_MONTH, Api
from gotax_collector.http.authentication import Authentication, Guard
from gotax_collector.http.charts import chart_of
from gotax_collector.http.hosts import Hosts
from gotax_collector.http.links import linked, timed
from gotax_collector.http.packing import packed
from gotax_collector.http.parameters import SORTS, Parameters, choice, one, page, parsed, readable
from gotax_collector.http.turns import RETRY_AFTER_S, TurnLimits, Turns
from gotax_collector.metrics import CONTENT_TYPE
from gotax_collector.query.answers import Changes, Span
from gotax_collector.query.database import BusyError, CancelledError
from gotax_collector.query.functions import differences_of, functions_of
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import FIELDS, SelectionError, exactly, parse_time
from gotax_collector.query.wording import difference_sentence

log = logging.getLogger(__name__)

_STORE_FAILING_S = 60.0
_HTML = "text/html; charset=utf-8"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_STATIC = {
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(drawing.ALL_STYLES, "text/css; charset=utf-8"),
    **dict.fromkeys((*SCRIPTS, "site.js"), "text/javascript; charset=utf-8"),
}
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
USUAL_RANGE = "24h"
PAGE_ROWS, FUNCTIONS = 100, 40
LIVE_S = 30
"""How often a page that is visible asks for its numbers again."""
RANGES = (("1h", "1 h"), ("6h", "6 h"), ("24h", "1 day"), ("7d", "7 days"), ("30d", "30 d"))


@dataclass(frozen=True, slots=True)
class Served:
    """What the site shows. ``metrics`` is for /metrics, ``store_failing_s`` for /readyz.

    ``guard`` None: without a token, and only for this machine's addresses and for ``hosts``, which
    are names of this collector. ``clock``: Unix time in seconds.
    """

    questions: Questions
    metrics: Callable[[], bytes]
    store_failing_s: Callable[[], float]
    guard: Guard | None = None
    hosts: tuple[str, ...] = ()
    turns: TurnLimits = TurnLimits()
    clock: Callable[[], float] = time.time


def application(served: Served) -> Starlette:
    pages = _Pages(served)
    return Starlette(
        middleware=_middleware(served),
        routes=[
            Route(path, answer)
            for path, answer in {**pages.routes(), **_Probes(served).routes()}.items()
        ],
        exception_handlers={
            SelectionError: pages.not_understood,
            CollectorError: pages.failed,
            HTTPException: _not_there,
        },
    )


def probes(served: Served) -> Starlette:
    """The same without pages and without the API."""
    own = _Probes(served)
    return Starlette(
        routes=[Route(path, answer) for path, answer in own.routes().items()],
        exception_handlers={HTTPException: _not_there},
    )


def _middleware(served: Served) -> list[Middleware]:
    if served.guard is not None:
        return [Middleware(Authentication, guard=served.guard)]
    return [Middleware(Hosts, names=served.hosts)]


class _Probes:
    """What the event loop answers at once."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def routes(self) -> dict[str, Endpoint]:
        return {"/metrics": self._metrics, "/healthz": self._healthy, "/readyz": self._ready}

    async def _metrics(self, _: Request) -> Response:
        return Response(self._served.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _healthy(self, _: Request) -> Response:
        return _text("ok\n")

    async def _ready(self, _: Request) -> Response:
        is_ready = self._served.store_failing_s() < _STORE_FAILING_S
        return _text("ok\n" if is_ready else "the store fails\n", status=200 if is_ready else 503)


class _Pages:
    """Plain functions that query: each has its turn, on a thread."""

    def __init__(self, served: Served) -> None:
        self._api = Api(served.questions, served.clock)
        self._turns = Turns(served.questions.database, served.turns)

    def routes(self) -> dict[str, Endpoint]:
        asking = {
            "/": self._fleet,
            "/workload": self._workload,
            "/changes": self._changes,
            "/nodes": self._nodes,
            "/codes": self._codes,
            "/flamegraph": self._flamegraph,
            "/flamegraph.html": self._standalone,
            "/flamegraph.folded": self._folded,
            "/api/v1/{name}": self._json,
        }
        found: dict[str, Endpoint] = {path: self._in_turn(work) for path, work in asking.items()}
        return {**found, "/static/{name}": self._static}

    def _in_turn(self, work: Callable[[Request], Response]) -> Endpoint:
        async def answer(request: Request) -> Response:
            self._parameters(request)  # what is refused needs no turn
            peer = str(request.scope.get("peer", ""))
            return await self._turns.answer(request, peer, lambda: packed(request, work(request)))

        return answer

    def _parameters(self, request: Request) -> dict[str, list[str]]:
        """SelectionError."""
        found = parsed(request.query_params.multi_items(), _is_for_programs(request))
        if since := one(found, "since"):
            parse_time(since, self._api.now)
        return found

    def _fleet(self, request: Request) -> Response:
        parameters = self._parameters(request)
        number = page(parameters)
        answer = self._api.questions.top(
            self._api.selection(timed(parameters)),
            PAGE_ROWS,
            choice(parameters, "sort", SORTS),
            (number - 1) * PAGE_ROWS,
            with_resolved=number == 1,
        )
        price = self._api.price(parameters)
        query = " ".join(parameters.get("q", ()))
        values = {
            "top": answer,
            "sort": choice(parameters, "sort", SORTS),
            "page": number,
            "pages": -(-answer.workloads // PAGE_ROWS),
            "price": price,
            "monthly": price * HOURS_PER_MONTH if price else None,
            "terms_of": drawing.terms_of,
            "ended": drawing.ended_codes,
            "now": self._api.now,
            "narrowed": lambda field, value: f"{query} {exactly(field, value)}".strip(),
        }
        return self._page("fleet.html", parameters, values, is_live=True)

    def _nodes(self, request: Request) -> Response:
        parameters = self._parameters(request)
        number = page(parameters)
        found = self._api.questions.nodes(
            self._api.selection(timed(parameters)), PAGE_ROWS, (number - 1) * PAGE_ROWS
        )
        values = {
            "found": found,
            "page": number,
            "pages": -(-found.nodes // PAGE_ROWS),
            "term": lambda node: str(exactly("node", node)),
            "now": self._api.now,
        }
        return self._page("nodes.html", parameters, values, is_live=True)

    def _workload(self, request: Request) -> Response:
        parameters = self._parameters(request)
        selection = self._api.selection(timed(parameters))
        answer = self._api.questions.workload(selection)
        if answer is None:
            return self._page("nothing.html", parameters, {})
        changes = self._changes_of(parameters)
        sides = comparing.SideTables(
            self._api.questions,
            selection,
            drawing.terms_of(answer.row),
            lambda terms: linked("/workload", parameters, q=terms),
        )
        is_whole = not _is_update(parameters)
        tables = sides.of(answer) if is_whole else ()
        values = {
            "answer": answer,
            "row": answer.row,
            "chart": chart_of(answer, changes),
            "shares": drawing.group_shares(answer),
            "tables": tables,
            "chosen": comparing.chosen(tables),
            "changes": changes,
            "now": self._api.now,
            "terms_of": drawing.terms_of,
            "flame": drawing.flame_of(self._api, timed(parameters)) if is_whole else None,
        }
        return self._page("workload.html", parameters, values, is_live=True)

    def _changes_of(self, parameters: Parameters) -> Changes | None:
        try:
            return self._api.questions.changes(self._api.selection(timed(parameters)))
        except SelectionError:
            return None  # hourly sums have no pods

    def _changes(self, request: Request) -> Response:
        parameters = self._parameters(request)
        answer = self._api.questions.changes(self._api.selection(timed(parameters)))
        values = {"changes": answer, "terms_of": drawing.terms_of}
        return self._page("changes.html", parameters, values)

    def _codes(self, request: Request) -> Response:
        return self._page("codes.html", self._parameters(request), {})

    def _flamegraph(self, request: Request) -> Response:
        parameters = self._parameters(request)
        flame = drawing.flame_of(self._api, timed(parameters))
        values: dict[str, object] = {"flame": flame}
        match flame.profiles:
            case (first, second):
                values["difference"] = differences_of(first, second, FUNCTIONS)
                values |= self._sides(parameters, (first.span, second.span))
            case (one_profile,):
                values["functions"] = functions_of(one_profile, FUNCTIONS)
        return self._page("flamegraph.html", parameters, values)

    def _sides(self, parameters: Parameters, spans: tuple[Span, Span]) -> dict[str, object]:
        """Both selections of a difference, what is different, and links to each."""
        sides = self._api.sides(timed(parameters))
        assert sides is not None
        compared = self._api.questions.compare_two(sides, spans)
        before, after = (" ".join(parameters.get(name, ())) for name in ("a", "b"))
        links = (
            linked("/flamegraph", parameters, q=before, a=None, b=None),
            linked("/flamegraph", parameters, q=after, a=None, b=None),
        )
        return {
            "sentence": difference_sentence(compared),
            "sides_shown": tuple(comparing.shown(compared, sides, links)),
            "swapped": linked("/flamegraph", parameters, a=after, b=before),
        }

    def _standalone(self, request: Request) -> Response:
        text = drawing.flamegraph_page(self._api, timed(self._parameters(request)))
        return _text(text, _HTML, drawing.standalone_policy())

    def _folded(self, request: Request) -> Response:
        return _text(self._api.folded(timed(self._parameters(request))))

    def _json(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._api.names:
            known = ", ".join(self._api.names)
            return _json({"error": f"there is no query {name[:40]!r}: there are {known}"}, 404)
        return _json(self._api.answer(name, timed(self._parameters(request))))

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            raise HTTPException(404)
        headers = {**_HEADERS, "Cache-Control": "max-age=300"}
        return Response(drawing.static(name), media_type=_STATIC[name], headers=headers)

    def not_understood(self, request: Request, error: Exception) -> Response:
        """The page with the error message; the form keeps the input."""
        if _is_for_programs(request):
            return _json({"error": str(error)}, 400)
        parameters = readable(request.query_params.multi_items())
        values = {"text": str(error), "fields": FIELDS}
        return self._page("refused.html", parameters, values, 400)

    def failed(self, request: Request, error: Exception) -> Response:
        if isinstance(error, BusyError):
            answer = self._failed(request, error)
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
            return answer
        if not isinstance(error, CancelledError):
            log.warning("a query failed: %s", error)
        return self._failed(request, error)

    def _failed(self, request: Request, error: Exception) -> Response:
        if _is_for_programs(request):
            return _json({"error": str(error)}, 503)
        parameters = readable(request.query_params.multi_items())
        return self._page("failed.html", parameters, {"is_busy": isinstance(error, BusyError)}, 503)

    def _page(
        self,
        template: str,
        parameters: Parameters,
        values: Mapping[str, object],
        status: int = 200,
        is_live: bool = False,
    ) -> Response:
        """Render a page with its form and with links that keep the selection."""

        def link(path: str, **changed: str | None) -> str:
            return linked(path, parameters, live=None, **changed)

        query, before, after = (" ".join(parameters.get(name, ())) for name in ("q", "a", "b"))
        page = {
            "query": query,
            "sides": (before, after) if before or after else None,
            "since": self._since(parameters),
            "ranges": RANGES,
            "link": link,
            "live_s": LIVE_S if is_live and "until=" not in query else 0,
        }
        return _text(drawing.render(template, {**page, **values}), _HTML, _POLICY, status)

    def _since(self, parameters: Parameters) -> str:
        """The time for the form; the default for an invalid one."""
        text = next(iter(parameters.get("since", ())), USUAL_RANGE)
        try:
            parse_time(text, self._api.now)
        except SelectionError:
            return USUAL_RANGE
        return text


def _not_there(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    values = {"title": "No such page", "text": "The address has a mistake, or is of another gotax."}
    if status == 405:
        values = {"title": "Not allowed", "text": "Pages can be read only: GET and HEAD."}
    answer = _text(drawing.render("error.html", values), _HTML, _POLICY, status)
    if status == 405:
        answer.headers["Allow"] = "GET, HEAD"
    return answer


def _text(
    text: str,
    kind: str = "text/plain; charset=utf-8",
    policy: str = "default-src 'none'",
    status: int = 200,
) -> Response:
    headers = {**_HEADERS, "Content-Type": kind, "Content-Security-Policy": policy}
    return Response(text.encode("utf-8", "replace"), status, headers)


def _json(found: object, status: int = 200) -> Response:
    """ASCII only, so that names cannot contain invisible or misleading characters."""
    text = json.dumps(found, ensure_ascii=True, allow_nan=False)
    return _text(text + "\n", "application/json", status=status)


def _is_update(parameters: Parameters) -> bool:
    """Asked for by the script of a page that is open, which keeps what takes most to make."""
    return one(parameters, "live") == "1"


def _is_for_programs(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/flamegraph."))
