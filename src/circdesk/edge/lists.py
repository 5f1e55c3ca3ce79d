"""Lists as the contract has them: `{items, page, per_page, total, next_cursor, links}`."""

from typing import Any
from urllib.parse import quote, unquote

from circdesk.db.pagination import START, Page


def list_answer(page: Page, url: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Body, status and Link header (RFC 8288) for one page of the list at `url`.

    Links keep the query but for `page` and `cursor`. With a cursor there are no page numbers, and
    all links stay with cursors.
    """
    links = _links(page, url)
    body: dict[str, Any] = {"items": page.items, "per_page": page.per_page, "links": links}
    if page.page is not None:
        body |= {"page": page.page, "total": page.total, "total_relation": page.total_relation}
    if page.has_cursor:
        body["next_cursor"] = page.next_cursor
    header = ", ".join(f'<{target}>; rel="{rel}"' for rel, target in links.items())
    return body, 200, {"Link": header}


def _links(page: Page, url: str) -> dict[str, str]:
    path, _, query = url.partition("?")
    # What is kept stays as it was sent.
    kept = [pair for pair in query.split("&") if pair and _name(pair) not in _PLACES]

    def link(*place: str) -> str:
        pairs = [*kept, *place]
        return f"{path}?{'&'.join(pairs)}" if pairs else path

    links = {"self": url, "first": link(f"cursor={START}") if page.page is None else link()}
    if page.page is not None:
        if page.page > 1:
            links["prev"] = link(f"page={page.page - 1}")
        if page.has_next and (page.page + 1) * page.per_page <= 10_000:
            links["next"] = link(f"page={page.page + 1}")
    if "next" not in links and page.next_cursor is not None:
        links["next"] = link(f"cursor={quote(page.next_cursor)}")
    return links


_PLACES = ("page", "cursor")


def _name(pair: str) -> str:
    name = pair.partition("=")[0]
    return unquote(name) if "%" in name else name
