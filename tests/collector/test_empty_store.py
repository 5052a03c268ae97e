"""Before the first report: pages and questions without an answer."""

from __future__ import annotations

from gotax_collector.http.application import Served
from gotax_collector.http.site import Site
from gotax_collector.query.questions import Questions

from tests.collector.conftest import Opener
from tests.collector.test_site import get


def test_an_empty_store_has_pages_too(open_store: Opener) -> None:
    store = open_store()
    served = Site(("127.0.0.1", 0), Served(Questions(store.connections), lambda: b"", lambda: 99.0))
    try:
        url = f"http://127.0.0.1:{served.port}"
        for path in ("/", "/changes", "/flamegraph", "/workload?q=workload%3Dx"):
            status, _, body = get(url + path)
            assert status == 200, body
        assert get(f"{url}/readyz")[0] == 503
    finally:
        served.close()
