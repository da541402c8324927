"""A real Chromium without a window, driven through the WebDriver protocol of Debian's `chromium-driver`."""

from __future__ import annotations

import base64
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = None if CHROMIUM and DRIVER else "Chromium is not here; install the packages chromium and chromium-driver"
# The protocol's names of keys that are no character.
CONTROL, ENTER, ESCAPE, TAB, UP, DOWN = "\ue009", "\ue007", "\ue00c", "\ue004", "\ue013", "\ue015"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Chromium:
    """One window."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client, self._session = client, f"/session/{session}"

    def go(self, url: str) -> None:
        self._post("/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._value(self._client.get(f"{self._session}/url")))

    def run(self, script: str, *arguments: Any) -> Any:
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def run_until_done(self, script: str, *arguments: Any) -> Any:
        """A script that calls its last argument when it is done."""
        return self._post("/execute/async", {"script": script, "args": list(arguments)})

    def text(self, selector: str = "body") -> str:
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def press(self, *keys: str) -> None:
        """Keys one after the other, as fingers do; several characters in one argument are held together."""
        actions: list[dict[str, Any]] = []
        for chord in keys:
            actions += [{"type": "keyDown", "value": key} for key in chord]
            actions += [{"type": "keyUp", "value": key} for key in reversed(chord)]
        self._act({"type": "key", "id": "keyboard", "actions": actions})

    def type(self, text: str) -> None:
        self.press(*text)

    def move(self, *steps: tuple[str, int, int]) -> None:
        """Moves, presses and lets go of the mouse: ("move", x, y), ("down", 0, 0), ("up", 0, 0)."""
        names = {"move": "pointerMove", "down": "pointerDown", "up": "pointerUp"}
        actions = [
            {"type": names[kind], **({"x": x, "y": y, "duration": 30} if kind == "move" else {"button": 0})}
            for kind, x, y in steps
        ]
        self._act({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions})

    def click(self, selector: str) -> None:
        found = self._post("/element", {"using": "css selector", "value": selector})
        self._post(f"/element/{found[_ELEMENT]}/click", {})

    def size(self, width: int, height: int) -> None:
        self._post("/window/rect", {"width": width, "height": height})

    def screenshot(self, file: Path) -> Path:
        file.write_bytes(base64.b64decode(self._value(self._client.get(f"{self._session}/screenshot"))))
        return file

    def _act(self, source: dict[str, Any]) -> None:
        self._post("/actions", {"actions": [source]})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._value(self._client.post(f"{self._session}{path}", json=body))

    @staticmethod
    def _value(response: httpx.Response) -> Any:
        value = response.json()["value"]
        assert response.status_code == 200, value
        return value


@contextmanager
def chromium(width: int = 1280, height: int = 900) -> Iterator[Chromium]:
    """A window that is closed, and a driver that is ended, when the block is left."""
    assert CHROMIUM
    assert DRIVER
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += [f"--window-size={width},{height}", "--force-device-scale-factor=1"]
        asked = {"alwaysMatch": {"goog:chromeOptions": {"binary": CHROMIUM, "args": options}}}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            session = client.post("/session", json={"capabilities": asked}).json()["value"]["sessionId"]
            try:
                yield Chromium(client, session)
            finally:
                client.delete(f"/session/{session}")
    finally:
        driver.terminate()
        driver.wait(timeout=30)


def axe() -> str | None:
    """The accessibility checker axe-core, as the package `axe-core-python` carries it; None where it is not installed."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or not found.submodule_search_locations:
        return None
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


def faults(window: Chromium, checker: str) -> list[str]:
    """What axe-core finds serious or critical on the page that is open, by rule and element."""
    window.run(checker + "\nreturn null")
    script = """const done = arguments[arguments.length - 1];
      axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations
        .filter((one) => ["serious", "critical"].includes(one.impact))
        .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.target.join(" ")}`))))"""
    return list(window.run_until_done(script))
