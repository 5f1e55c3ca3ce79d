"""Fingerprints: whether a request is the same as one that came before."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from circdesk.contract.streams import Upload

_BLOCK = 1024**2


class Fingerprint:
    """The fingerprint of a request, by its method, its path, and the arguments of its handler.

    So neither the order of an object's members nor blanks make another request of it. A file
    that is streamed is hashed as its handler reads it.

    Args:
        secret: Without it nobody can tell by a fingerprint what was sent, such as a password.
        method: The request's method.
        url: What it was sent to; the query counts by the arguments alone.
        arguments: What its handler is going to be called with.
    """

    def __init__(self, secret: bytes, method: str, url: str, arguments: Mapping[str, Any]) -> None:
        path, body = url.partition("?")[0], arguments.get("body")
        self._file = body if isinstance(body, Upload) else None
        if isinstance(body, Upload):
            arguments = {**arguments, "body": body.media_type}
        request = json.dumps([method, path, arguments], sort_keys=True, default=str)
        self._digest = hmac.new(secret, b"fingerprint:" + request.encode(), hashlib.sha256)
        if self._file is not None:
            self._file.stream.watch(self._digest)

    def hex(self) -> str:
        """The fingerprint; what nobody has read of a file is read now.

        Raises:
            ContentTooLarge, RequestTimeout: From the stream.
        """
        while self._file is not None and self._file.stream.read(_BLOCK):
            pass
        return self._digest.hexdigest()
