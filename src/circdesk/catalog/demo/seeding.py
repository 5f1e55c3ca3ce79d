"""Fills an empty database with the demo library, whole or not at all.

Everything has the same id and the same times in every demo, so that the examples in the contract
are what the demo really answers.
"""

from datetime import timedelta

from sqlalchemy import exists, or_, select, text
from sqlalchemy.orm import Session

from circdesk.catalog.demo import BRANCHES, POSTS, DemoBranch, DemoPost, books_csv
from circdesk.catalog.demo.books import AGENCY, write_books
from circdesk.catalog.demo.identities import MOMENT, Kind, demo_id
from circdesk.catalog.imports.models import ImportIssue, ImportJob
from circdesk.catalog.imports.reading.formats import Format
from circdesk.catalog.models import CATALOG, Book, Branch
from circdesk.catalog.opening_hours import ordered_hours
from circdesk.circulation.policies.demo import demo_policies
from circdesk.db.text import sort_key
from circdesk.db.touches import note_whole
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.demo import seed_events
from circdesk.news.models import Post, PostTag

_BETWEEN_POSTS = timedelta(weeks=1)


def seed_demo(sessions: Sessions) -> None:
    """Store branches, rules, books with copies, an import and posts, where there are none at all.

    It is one transaction: of a start that was killed nothing is left, and the next one begins
    anew. A database that holds anything is left alone, which costs one statement to see.
    """
    with unit_of_work(sessions, writing=False) as session:
        if not _is_empty(session):
            return
    with unit_of_work(sessions, writing=True) as session:
        lock_table(session, "branches")
        if _is_empty(session):
            session.add_all(map(_branch, range(1, len(BRANCHES) + 1), BRANCHES))
            session.add_all(map(_post, range(1, len(POSTS) + 1), POSTS))
            session.flush()
            session.add_all(demo_policies())
            session.add(_import(*write_books(session.connection())))
            note_whole(session, *CATALOG)
            seed_events(session)


def _is_empty(session: Session) -> bool:
    anything = or_(*(exists(select(model.id)) for model in (Book, Branch, Post)))
    return not session.execute(select(anything)).scalar_one()


def lock_table(session: Session, name: str) -> None:
    """Let one process seed and the others see that it has; SQLite has one writer in any case."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))


def _branch(number: int, branch: DemoBranch) -> Branch:
    hours = {
        day: [{"opens": opens, "closes": closes} for opens, closes in periods]
        for day, periods in branch.opening_hours.items()
    }
    return Branch(
        id=demo_id(Kind.BRANCH, number),
        code=branch.code,
        name=branch.name,
        sort_name=sort_key(branch.name),
        address=branch.address,
        time_zone=branch.time_zone,
        opening_hours=ordered_hours(hours),
        closed_days=sorted(branch.closed_days),
        created_at=MOMENT,
        updated_at=MOMENT,
    )


def _post(number: int, post: DemoPost) -> Post:
    return Post(
        id=demo_id(Kind.POST, number),
        title=post.title,
        sort_title=sort_key(post.title),
        body=post.body,
        author=post.author,
        tags=[PostTag(name=name, position=place) for place, name in enumerate(post.tags)],
        # The first is the latest.
        published_at=MOMENT - (number - 1) * _BETWEEN_POSTS,
        created_at=MOMENT,
        updated_at=MOMENT,
    )


def _import(books: int, copies: int) -> ImportJob:
    """The import as which all of it could have come, had the file one row more, without a title."""
    issue = ImportIssue(
        id=demo_id(Kind.IMPORT_ISSUE, 1),
        position=books + 1,
        control_number=f"demo-{books + 1:04}",
        severity="refused",
        reason="title_missing",
        message="The row has no title.",
    )
    return ImportJob(
        id=demo_id(Kind.IMPORT, 1),
        state="done",
        format=Format.CSV,
        source=AGENCY,
        overwrite=False,
        dry_run=False,
        bytes=len(books_csv().read_bytes()),
        read=books + 1,
        created=books,
        refused=1,
        copies_created=copies,
        issues_count=1,
        issues=[issue],
        created_at=MOMENT,
        started_at=MOMENT + timedelta(seconds=1),
        finished_at=MOMENT + timedelta(seconds=2),
    )
