"""Chromium through its driver, by W3C WebDriver (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def needed() -> None:
    """A test that needs a browser is skipped without one; where CI=true says so it fails."""
    if CHROMIUM is None or DRIVER is None:
        reason = "no Chromium: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


# https://www.w3.org/TR/webdriver2/#keyboard-actions
_KEYS = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Shift": "\ue008",
    "Escape": "\ue00c",
    "End": "\ue010",
    "Home": "\ue011",
    "ArrowLeft": "\ue012",
    "ArrowUp": "\ue013",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
    "Space": " ",
}


class Browser:
    """One window."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, url: str) -> None:
        self._post("url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What the body of a function in the page returns."""
        return self._post("execute/sync", {"script": script, "args": list(arguments)})

    def texts(self, selector: str) -> list[str]:
        """What a person reads in each element, with one blank between words."""
        found = self.run(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map(e => e.innerText ?? e.textContent)",
            selector,
        )
        return [" ".join(text.split()) for text in found]

    def text(self, selector: str = "body") -> str:
        return " ".join(self.texts(selector))

    def boxes(self, selector: str) -> list[dict[str, float]]:
        """Where each element is drawn."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])]"
                ".map(e => e.getBoundingClientRect().toJSON())",
                selector,
            )
        )

    def submit(self, name: str, text: str) -> None:
        """As if typed into the field of that name, and Select pressed. Waits for the answer."""
        self.run(
            "document.isOld = true;"
            "const field = document.querySelector(`input[name=${arguments[0]}]`);"
            "field.value = arguments[1]; field.form.querySelector('button').click()",
            name,
            text,
        )
        end = time.monotonic() + PATIENCE_S
        while not self.run("return !document.isOld && document.readyState == 'complete'"):
            assert time.monotonic() < end, "no other page came"
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        """What the browser refused or did not understand since this was asked last."""
        return [entry["message"] for entry in self._post("se/log", {"type": "browser"})]

    def set_size(self, width: int, height: int) -> None:
        """Of the viewport, which no window of a desktop is small enough for."""
        self._chrome(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def set_scheme(self, name: str) -> None:
        """``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self._chrome("Emulation.setEmulatedMedia", features=features)

    def press(self, *keys: str) -> None:
        """On the keyboard, one after the other: ``Tab``, ``Enter``, ``Shift+Tab``, ``a``."""
        for key in keys:
            *modifiers, name = key.split("+") if len(key) > 1 else [key]
            code = _KEYS.get(name, name)
            held = [_KEYS[modifier] for modifier in modifiers]
            down = [{"type": "keyDown", "value": value} for value in (*held, code)]
            up = [{"type": "keyUp", "value": value} for value in (code, *held)]
            keyboard = {"type": "key", "id": "keyboard", "actions": [*down, *up]}
            self._post("actions", {"actions": [keyboard]})

    def screenshot(self, file: Path) -> None:
        with urllib.request.urlopen(f"{self._url}/screenshot", timeout=PATIENCE_S) as response:
            file.write_bytes(base64.b64decode(json.load(response)["value"]))

    def _chrome(self, command: str, **parameters: object) -> None:
        self._post("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, command: str, body: object) -> Any:
        return post(f"{self._url}/{command}", body)


def wait(window: Browser, condition: str) -> None:
    """Until the body of a function in the page returns something true."""
    end = time.monotonic() + PATIENCE_S
    while not window.run(condition):
        assert time.monotonic() < end, f"never: {condition}"
        time.sleep(0.02)


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        return json.load(response)["value"]


@contextmanager
def browsing(*options: str) -> Iterator[Browser]:
    assert DRIVER is not None
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options]
    capabilities = {
        "goog:chromeOptions": {"binary": CHROMIUM, "args": [*arguments, "--window-size=1280,1600"]},
        "goog:loggingPrefs": {"browser": "ALL"},
    }
    driver = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert driver.stdout is not None
        ports = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
        url = f"http://127.0.0.1:{next(found[1] for found in ports if found)}/session"
        session = post(url, {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        yield Browser(f"{url}/{session}")
        closing = urllib.request.Request(f"{url}/{session}", method="DELETE")
        urllib.request.urlopen(closing, timeout=PATIENCE_S).close()
    finally:
        driver.terminate()
        driver.wait()
        if driver.stdout is not None:
            driver.stdout.close()
