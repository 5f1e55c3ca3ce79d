"""What every answer tells a browser to be careful about.

The pages for people have policies of their own, which stay; all else is data, and whoever opens it
in a browser is to load nothing by it, frame it nowhere, and tell nobody where they came from.
"""

from circdesk.contract.headers import RawHeader

_FIXED = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
# A year, for this host alone: whatever else the domain has is not ours to bind (RFC 6797).
_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")

# Those of an answer that says nothing else about it.
UNLESS_SET = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


def fixed_headers(*, secure: bool) -> tuple[RawHeader, ...]:
    """Those of each answer; `secure` says whether callers reach the service by HTTPS alone."""
    return (*_FIXED, _TRANSPORT) if secure else _FIXED
