"""Whose request it is behind proxies: each adds to `X-Forwarded-For` whom it was asked by.

Anybody may send that header, so that only as many of its last entries are believed as there are
proxies of our own. Limits, lock-out, the audit log and the access log all take the address that
is found here, once and before everything else.
"""

from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send


class BelievedProxies:
    """ASGI middleware that puts the caller's own address in the place of the nearest proxy's.

    Args:
        hops: The number of our own proxies that a request comes through.
    """

    def __init__(self, app: ASGIApp, *, hops: int) -> None:
        self._app = app
        self._hops = hops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its caller as the client."""
        if scope["type"] == "http":
            believe_proxies(scope, self._hops)
        await self._app(scope, receive, send)


def believe_proxies(scope: Scope, hops: int) -> None:
    """Put the caller's own address into the scope, as far as so many proxies tell it."""
    address = _find_address(scope, hops)
    if address is not None:
        # In place: what is found out further in is read from this very scope further out. The port
        # there was the proxy's.
        scope["client"] = (address, 0)


def _find_address(scope: Scope, hops: int) -> str | None:
    """The farthest entry that is believed; None where there is none that can be read.

    With fewer entries than proxies the request came past the outermost of them.
    """
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    believed = b",".join(values).decode("latin-1").split(",")[-hops:]
    try:
        # What is not believed may be anything, and does not matter.
        addresses = [str(ip_address(entry.strip())) for entry in believed]
    except ValueError:
        return None
    # The zone of an IPv6 address (RFC 4007, 11) is any text, and says nothing elsewhere.
    return addresses[0].partition("%")[0]
