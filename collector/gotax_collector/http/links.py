"""Links that keep the parameters of a page, and the time of its form."""

from __future__ import annotations

from urllib.parse import urlencode

from gotax_collector.http.parameters import Parameters


def linked(path: str, parameters: Parameters, **changed: str | None) -> str:
    """The same parameters but for what is ``changed``."""
    kept = {**parameters, **{k: [v] if v else [] for k, v in changed.items()}}
    query = urlencode({name: value for name, value in kept.items() if value}, doseq=True)
    return f"{path}?{query}" if query else path


def timed(parameters: Parameters) -> Parameters:
    """Add the form's parameter ``since`` to the terms.

    In a difference both sides get it, even a side without terms.
    """
    found = dict(parameters)
    names = ("a", "b") if parameters.get("a") or parameters.get("b") else ("q",)
    for name in names:
        terms = list(found.get(name, ()))
        since = [f"since={value}" for value in parameters.get("since", ())]
        if not any("since=" in term for term in terms):
            found[name] = [*terms, *since[:1]]
    return found
