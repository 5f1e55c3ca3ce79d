"""The operations on Django's ORM, as its documentation shows it: lists are prefetched."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce
from django.shortcuts import get_object_or_404
from uuid_utils.compat import uuid7

from rivals.credentials import Actor
from rivals.lending import (
    JSON,
    UNDO_WINDOW,
    ActionRefused,
    compensation,
    data_of,
    due_at,
    raise_unless_lendable,
    returned,
    terms_of,
    undo_of,
)
from rivals.library.models import (
    AuditEntry,
    Author,
    Block,
    Book,
    BookISBN,
    Copy,
    Event,
    Fee,
    Hold,
    Loan,
    LoanPolicy,
    Subject,
    User,
)

_LENDABLE = Q(status="available", loanable=True)
_SORTS = {
    "title": ("sort_title", "id"),
    "-title": ("-sort_title", "-id"),
    "year": ("sort_year", "id"),
    "-year": ("-sort_year", "-id"),
}


def get_book(book_id: UUID) -> Book:
    """One book with its lists. Raises Http404."""
    return get_object_or_404(_shown(), pk=book_id)


def list_books(query: JSON) -> JSON:
    """A page of books with their lists, and how many there are."""
    found = _found(_shown(), query)
    skipped = (query["page"] - 1) * query["per_page"]
    items = list(found[skipped : skipped + query["per_page"]])
    total = found.count()
    return {"items": items, "page": query["page"], "per_page": query["per_page"], "total": total}


def _shown() -> QuerySet[Book]:
    return Book.objects.annotate(
        copies_total=_count(Q()), copies_available=_count(_LENDABLE)
    ).prefetch_related(
        Prefetch("authors", Author.objects.order_by("bookauthor__position")),
        Prefetch("subjects", Subject.objects.order_by("booksubject__position")),
        Prefetch("isbn_rows", BookISBN.objects.order_by("position")),
    )


def _count(condition: Q) -> Coalesce:
    copies = Copy.objects.filter(condition, book=OuterRef("pk")).order_by().values("book")
    return Coalesce(copies.annotate(number=Count("pk")).values("number"), 0)


def _found(books: QuerySet[Book], query: JSON) -> QuerySet[Book]:
    if query["q"] is not None:
        words = SearchQuery(query["q"], config="simple")
        rank = SearchRank(F("text__document"), words, normalization=Value(1))
        return books.filter(text__document=words).annotate(rank=rank).order_by("-rank", "-id")
    if query["author"] is not None:
        books = books.filter(authors=query["author"])
    if query["available"] is not None:
        there = Exists(Copy.objects.filter(_LENDABLE, book=OuterRef("pk")))
        books = books.filter(there if query["available"] else ~there)
    if query["year_from"] is not None:
        books = books.filter(year__gte=query["year_from"])
    return books.order_by(*_SORTS[query["sort"] or "title"])


def check_out(actor: Actor, user_id: UUID, copy_id: UUID, request_id: str, address: str) -> JSON:
    """Lend the copy to the user, in a transaction of the caller's. Raises ActionRefused."""
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    copy = _locked_copy(copy_id)
    if user is None or copy is None:
        raise ActionRefused("copy_unknown" if copy is None else "user_unknown")
    now = datetime.now(UTC)
    today = now.astimezone(ZoneInfo(copy.branch.time_zone)).date()
    policy = _policy_for(user, copy)
    if policy is None:
        raise ActionRefused("no_loan_policy")
    raise_unless_lendable(_facts(user, copy, policy, now, today), today)
    before = {"status": copy.status, "event_id": copy.event_id and str(copy.event_id)}
    loan = Loan(
        id=uuid7(), user=user, copy=copy, book_id=copy.book_id, branch_id=copy.branch_id,
        user_category=user.category, material_type=copy.material_type, status="open", lent_at=now,
        due_at=due_at(policy.period_length, copy.branch.time_zone, now), policy=policy,
        terms=terms_of(vars(policy)), created_at=now, updated_at=now,
    )  # fmt: skip
    undo = undo_of(loan.id, None, copy.id, before)
    data = data_of(copy.id, copy.status, "on_loan")
    event = _event("loan.check_out", actor, loan, now, data, undo)
    loan.event_id = event.id
    loan.save(force_insert=True)
    _move(copy, "on_loan", event)
    _write_down(event, request_id, address, {})
    return {"loan": loan, "warnings": [], "compensation": compensation(event.id, now)}


def give_back(actor: Actor, copy_id: UUID, request_id: str, address: str) -> JSON:
    """Take the copy back where it belongs, in a transaction of the caller's.

    Raises ActionRefused.
    """
    copy = _locked_copy(copy_id)
    loans = Loan.objects.select_for_update(no_key=True)
    loan = loans.filter(copy_id=copy_id, returned_at=None).first()
    if copy is None or loan is None:
        raise ActionRefused("copy_unknown" if copy is None else "copy_not_on_loan")
    now = datetime.now(UTC)
    today = now.astimezone(ZoneInfo(copy.branch.time_zone)).date()
    if _next_hold(copy, today) is not None:
        raise ActionRefused("held_for_another")
    images = {"status": loan.status, "returned_at": None, "event_id": str(loan.event_id)}
    before = {"status": copy.status, "event_id": str(copy.event_id)}
    here = {"branch_id": str(copy.branch_id)}
    data = data_of(copy.id, copy.status, "available") | here
    undo = undo_of(loan.id, images, copy.id, before)
    event = _event("loan.return", actor, loan, now, data, undo)
    loan.status, loan.returned_at, loan.updated_at, loan.event_id = "returned", now, now, event.id
    loan.save(update_fields=["status", "returned_at", "updated_at", "event_id"])
    _move(copy, "available", event)
    _write_down(event, request_id, address, here)
    return returned({"copy_id": copy.id}, compensation(event.id, now)) | {"loan": loan}


def _locked_copy(copy_id: UUID) -> Copy | None:
    """The copy with its branch; it and its book stay locked."""
    copies = Copy.objects.select_related("book", "branch")
    return copies.select_for_update(of=("self", "book"), no_key=True).filter(pk=copy_id).first()


def _policy_for(user: User, copy: Copy) -> LoanPolicy | None:
    """The most specific policy for this user, material and branch."""
    fitting = LoanPolicy.objects.filter(
        Q(branch=None) | Q(branch=copy.branch),
        Q(user_category=None) | Q(user_category=user.category),
        Q(material_type=None) | Q(material_type=copy.material_type),
    )
    return fitting.order_by(
        F("branch").asc(nulls_last=True),
        F("user_category").asc(nulls_last=True),
        F("material_type").asc(nulls_last=True),
    ).first()


def _facts(user: User, copy: Copy, policy: LoanPolicy, now: datetime, today: date) -> JSON:
    """What the rules ask."""
    loans = Loan.objects.filter(user=user, returned_at=None).aggregate(
        overdue=Count("pk", filter=Q(status="open", due_at__lt=now)),
        loans=Count("pk", filter=~Q(status="lost")),
        same_title=Count("pk", filter=~Q(status="lost") & Q(book=copy.book_id)),
    )
    blocks = Block.objects.filter(user_id=user.id, lifted_at=None)
    active = blocks.filter(Q(expires_at=None) | Q(expires_at__gt=now))
    waiting = Hold.objects.filter(
        Q(suspended_until=None) | Q(suspended_until__lte=today),
        Q(copy_id=None) | Q(copy_id=copy.id),
        book_id=copy.book_id, ended_at=None, status="waiting",
    )  # fmt: skip
    fees = Fee.objects.filter(user_id=user.id, outstanding__gt=0)
    lent = Loan.objects.filter(copy=copy, returned_at=None)
    limits = {name: getattr(policy, name) for name in ("max_loans", "max_overdue", "max_debt")}
    person = {"user_status": user.status, "expires_on": user.expires_on}
    item = {"status": copy.status, "loanable": copy.loanable, "lends": policy.lends}
    return {
        **loans, **limits, **person, **item,
        "debt": fees.aggregate(debt=Sum("outstanding"))["debt"],
        "block": active.values_list("reason", flat=True).first(),
        "lent_until": lent.values_list("due_at", flat=True).first(),
        "ahead": waiting.exclude(user_id=user.id).count(),
        "available": Copy.objects.filter(_LENDABLE, book=copy.book_id).count(),
    }  # fmt: skip


def _next_hold(copy: Copy, today: date) -> Hold | None:
    """The hold that the copy is for."""
    eligible = Q(suspended_until=None) | Q(suspended_until__lte=today)
    fits = Q(copy_id=None) | Q(copy_id=copy.id)
    holds = Hold.objects.select_for_update(no_key=True).filter(
        Q(trapped_copy_id=copy.id) | (Q(status="waiting") & eligible & fits),
        book_id=copy.book_id, ended_at=None,
    )  # fmt: skip
    return holds.order_by(F("trapped_copy_id").asc(nulls_last=True), "rank").first()


def _event(
    kind: str, actor: Actor, loan: Loan, now: datetime, data: JSON, undo: list[Any]
) -> Event:
    return Event(
        id=uuid7(), kind=kind, subject_type="loan", subject_id=loan.id, actor_type=actor.kind,
        actor_id=actor.id, user_id=loan.user_id, data=data, occurred_at=now, undo=undo,
        undo_until=now + UNDO_WINDOW,
    )  # fmt: skip


def _move(copy: Copy, status: str, event: Event) -> None:
    copy.status, copy.event_id, copy.updated_at = status, event.id, event.occurred_at
    copy.version += 1
    copy.save(update_fields=["status", "event_id", "updated_at", "version"])


def _write_down(event: Event, request_id: str, address: str, details: JSON) -> None:
    event.save(force_insert=True)
    AuditEntry.objects.create(
        occurred_at=event.occurred_at, action=event.kind, outcome="success",
        actor_type=event.actor_type, actor_id=event.actor_id, target_type="loan",
        target_id=event.subject_id, request_id=request_id, address=address, details=details,
    )  # fmt: skip
