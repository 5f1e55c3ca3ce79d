"""What can be wrong with credentials: none, bad ones, several, and those of somebody else."""

from base64 import b64encode
from collections.abc import Iterator

from circdesk.contract.operations import Operation
from tests.contract.differential.requests import Credentials, Request

_HEADERS = ("authorization", "cookie", "x-api-key", "x-csrf-token")


def callers(request: Request, credentials: Credentials) -> Iterator[Request]:
    """The request as somebody else sends it, or as nobody does; each kind says who is asked for."""
    asked = _asked(request.operation)
    for found in _callers(request, credentials):
        yield found.but(kind=f"{found.kind}, {asked}")


def _asked(operation: Operation) -> str:
    if not operation.security:
        return "where nobody is asked"
    if {} in operation.security:
        return "where nobody need be known"
    guarded = any("CsrfToken" in entry for entry in operation.security)
    return "where something changes" if guarded else "where somebody must be known"


def _callers(request: Request, credentials: Credentials) -> Iterator[Request]:
    key, token, session = credentials.key, credentials.token, credentials.session
    nobody = request.without_headers(*_HEADERS)
    yield nobody.but(kind="no credential")
    for kind, headers in {
        "a bad key": {"x_api_key": "cdk_nonsense"},
        "a good key": {"x_api_key": key},
        "the key of somebody who may not": {"x_api_key": credentials.member_key},
        "a bad token": {"authorization": "Bearer nonsense"},
        "a good token": {"authorization": f"Bearer {token}"},
        "the token of somebody who may not": {
            "authorization": f"Bearer {credentials.member_token}"
        },
        "no token behind its scheme": {"authorization": "Bearer"},
        "a scheme in other letters": {"authorization": f"bEARER {token}"},
        "an unknown scheme": {"authorization": f"Digest {token}"},
        "a good key by Basic": {"authorization": _basic(credentials.key_id, key)},
        "a bad key by Basic": {"authorization": _basic(credentials.key_id, "cdk_nonsense")},
        "Basic that cannot be read": {"authorization": "Basic nonsense"},
        "a bad token beside a good key": {"authorization": "Bearer nonsense", "x_api_key": key},
        "a bad key beside a good token": {
            "authorization": f"Bearer {token}",
            "x_api_key": "cdk_nonsense",
        },
        "a cookie that is over": {"cookie": "circdesk_session=nonsense"},
        "a cookie": {
            "cookie": f"other=1; circdesk_session={session}",
            "x_csrf_token": credentials.csrf_token,
        },
        "a cookie without its token": {"cookie": f"circdesk_session={session}"},
        "a cookie that is over beside a good key": {
            "cookie": "circdesk_session=nonsense",
            "x_api_key": key,
        },
    }.items():
        yield nobody.but(kind=kind).with_headers(**headers)
    twice = (*nobody.headers, ("x-api-key", key), ("x-api-key", key))
    yield nobody.but(kind="a good key twice", headers=twice)
    yield nobody.but(kind="a bad key to a bad query", query=(("colour", "red"),)).with_headers(
        x_api_key="cdk_nonsense"
    )


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
