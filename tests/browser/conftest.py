"""A demo service as a process of its own, and a real browser that visits it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    sync_playwright,
)

Demo = dict[str, Any]

# A slow machine under load starts in some seconds; what hangs must fail.
PATIENCE = 120
PATIENCE_WITH_A_PAGE = 30_000

# Chromium has no sandbox as root, and nothing in a test may call its maker.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """What `demo.json` says of a running demo."""
    place = tmp_path_factory.mktemp("demo")
    program = "from circdesk.cli import main; main()"
    arguments = ("serve", "--demo", "--host", "127.0.0.1", "--port", "0")
    with (place / "log").open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=place,
            env={**os.environ, "CIRCDESK_ENV": "development", "NO_COLOR": "1"},
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    try:
        _wait_for_start(process, place / "log")
        yield json.loads((place / "instance" / "demo.json").read_text())
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_for_start(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while "Credentials" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=FLAGS) as browser,
    ):
        yield browser


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What the browser complains of, such as violations of a Content-Security-Policy.

    A test takes out what it expects; nothing must be left.
    """
    errors: list[str] = []
    yield errors
    assert errors == []


def listen(context: BrowserContext, errors: list[str]) -> None:
    """Collect errors of all pages of the context."""

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: errors.append(str(error.error)))


@pytest.fixture
def page(browser: Browser, errors: list[str]) -> Iterator[Page]:
    """A window of a fresh browser."""
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE_WITH_A_PAGE)
        listen(context, errors)
        yield context.new_page()


@pytest.fixture
def page_without_scripts(browser: Browser, errors: list[str]) -> Iterator[Page]:
    """A window of a fresh browser, as narrow as a telephone, which runs no scripts."""
    size = ViewportSize(width=375, height=667)
    with browser.new_context(java_script_enabled=False, viewport=size) as context:
        context.set_default_timeout(PATIENCE_WITH_A_PAGE)
        listen(context, errors)
        yield context.new_page()
