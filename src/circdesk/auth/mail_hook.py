"""The mail hook: what goes to a person by mail is posted as JSON to whoever sends the mails."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import structlog

from circdesk.spans import span, trace_headers

log = structlog.get_logger("circdesk.mail")

Letter = dict[str, Any]

# Letters that are on their way at once, and that wait; beyond that they are lost, and logged.
_THREADS, _WAITING = 2, 100
# For connecting, sending and hearing that it arrived, in all; it is tried twice.
_SECONDS, _ATTEMPTS = 5, 2


class MailHook:
    """Sends letters from threads of its own, so that no request waits for them or fails with them.

    Args:
        url: Where letters are posted; without it none is written.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._places = BoundedSemaphore(_THREADS + _WAITING)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="mail")

    def close(self) -> None:
        """Send what is on its way, and free the threads."""
        self._pool.shutdown(cancel_futures=True)

    def send(self, write: Callable[[], Letter | None]) -> None:
        """Have a letter written and sent, soon.

        Args:
            write: Makes the letter, `{event, email, name, token, expires_at}`, or None for none; it
                runs in a unit of work of its own, and for the present visit.
        """
        if self._url is None:
            return
        if not self._places.acquire(blocking=False):
            log.warning("letter_lost", reason="too many are waiting")
            return
        context = contextvars.copy_context()
        self._pool.submit(context.run, self._run, self._url, write).add_done_callback(
            lambda _: self._places.release()
        )

    def _run(self, url: str, write: Callable[[], Letter | None]) -> None:
        try:
            letter = write()
            if letter is not None:
                self._post(url, letter)
        except Exception as error:  # noqa: BLE001 - Nobody else would hear of it.
            log.error("letter_lost", reason=type(error).__name__)  # noqa: TRY400 - The error's text may have the letter in it.

    def _post(self, url: str, letter: Letter) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            with span("POST mail hook", "client", {"http.request.method": "POST"}):
                outcome = asyncio.run(_deliver(url, letter))
            log.info("letter", letter_event=letter["event"], outcome=outcome, attempt=attempt)
            if outcome == "sent":
                return
        log.error("letter_lost", reason=outcome)


async def _deliver(url: str, letter: Letter) -> str:
    """How it went. The answer's body is not read, and nothing of the letter is told."""
    # Most services have no hook, and none needs the client before the first letter.
    import httpx  # noqa: PLC0415

    try:
        async with (
            asyncio.timeout(_SECONDS),
            httpx.AsyncClient(timeout=_SECONDS) as client,
            client.stream("POST", url, json=letter, headers=trace_headers()) as response,
        ):
            return "sent" if response.is_success else f"status {response.status_code}"
    except (httpx.HTTPError, TimeoutError) as error:
        return type(error).__name__
