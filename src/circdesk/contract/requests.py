"""Problems of a request as such, whatever the operation."""

from circdesk.contract.problems import Problem


class InvalidRequest(Problem):
    """The request breaks the contract; `details` has one entry for each fault."""

    code = "invalid_request"
    status = 400
    title = "The request breaks the contract."
    advice = "Mend every entry of `details` and send the request again."


class MalformedBody(Problem):
    """The body cannot be read as JSON."""

    code = "malformed_body"
    status = 400
    title = "The body is not valid JSON."
    advice = "Send UTF-8 JSON without duplicate keys, NaN, or numbers beyond 64 bits."


class NotFound(Problem):
    """No such resource, or no such path."""

    code = "not_found"
    status = 404
    title = "There is nothing here."
    advice = "Look the identifier up in a list, or the path in /openapi.json."


class MethodNotAllowed(Problem):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    status = 405
    title = "This path does not take that method."
    advice = "Use one of the methods in the Allow header."


class NotAcceptable(Problem):
    """No media type of the operation fits the Accept header."""

    code = "not_acceptable"
    status = 406
    title = "No answer fits the Accept header."
    advice = "Accept one of the media types in `details`, or send no Accept header."


class RequestTimeout(Problem):
    """The body did not arrive in time."""

    code = "request_timeout"
    status = 408
    title = "The body did not arrive in time."
    advice = "Send the request again on a better connection."


class ContentTooLarge(Problem):
    """The body is longer than the operation takes."""

    code = "content_too_large"
    status = 413
    title = "The body is too large."
    advice = "Send less at once; the limit is in `details`."


class UnsupportedMediaType(Problem):
    """The body's media type is missing or is not one that the operation takes."""

    code = "unsupported_media_type"
    status = 415
    title = "The body has a media type that is not taken here."
    advice = "Send one of the media types in `details` as Content-Type."


class InternalError(Problem):
    """Something broke; the log has the rest under the request id."""

    code = "internal_error"
    status = 500
    title = "Something broke on our side."
    advice = "Try again later; if it stays, tell the operator the request id."


class Overloaded(Problem):
    """More requests wait than the service can answer in time."""

    code = "overloaded"
    status = 503
    title = "The service is busy."
    advice = "Wait for the seconds in Retry-After, then try again."
