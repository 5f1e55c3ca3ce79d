"""The tables as Django's models, as far as the operations need them; Circdesk migrates them."""

from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7


class PlainJSON(models.JSONField):
    """A column of the type `json`, which psycopg reads itself; Django's own are `jsonb`."""

    def from_db_value(self, value: Any, *_: Any) -> Any:
        return value


class _Table(models.Model):
    """What all of them are: made by somebody else."""

    class Meta:
        abstract = True
        managed = False


class Author(_Table):
    id = models.UUIDField(primary_key=True)
    name = models.TextField()

    class Meta(_Table.Meta):
        db_table = "authors"


class Subject(_Table):
    id = models.UUIDField(primary_key=True)
    name = models.TextField()

    class Meta(_Table.Meta):
        db_table = "subjects"


class Book(_Table):
    id = models.UUIDField(primary_key=True)
    title = models.TextField()
    sort_title = models.TextField()
    sort_year = models.IntegerField()
    subtitle = models.TextField(null=True)
    publisher = models.TextField(null=True)
    year = models.IntegerField(null=True)
    language = models.TextField(null=True)
    summary = models.TextField(null=True)
    material_type = models.TextField()
    edition = models.TextField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    authors = models.ManyToManyField(Author, through="BookAuthor")
    subjects = models.ManyToManyField(Subject, through="BookSubject")

    class Meta(_Table.Meta):
        db_table = "books"

    @property
    def isbns(self) -> list[str]:
        return [row.isbn for row in self.isbn_rows.all()]


class BookAuthor(_Table):
    pk = models.CompositePrimaryKey("book_id", "author_id")
    book = models.ForeignKey(Book, models.CASCADE)
    author = models.ForeignKey(Author, models.CASCADE)
    position = models.IntegerField()

    class Meta(_Table.Meta):
        db_table = "book_authors"


class BookSubject(_Table):
    pk = models.CompositePrimaryKey("book_id", "subject_id")
    book = models.ForeignKey(Book, models.CASCADE)
    subject = models.ForeignKey(Subject, models.CASCADE)
    position = models.IntegerField()

    class Meta(_Table.Meta):
        db_table = "book_subjects"


class BookISBN(_Table):
    pk = models.CompositePrimaryKey("book_id", "isbn")
    book = models.ForeignKey(Book, models.CASCADE, related_name="isbn_rows")
    isbn = models.TextField()
    position = models.IntegerField()

    class Meta(_Table.Meta):
        db_table = "book_isbns"


class BookText(_Table):
    id = models.BigIntegerField(primary_key=True)
    book = models.OneToOneField(Book, models.CASCADE, related_name="text")
    document = SearchVectorField()

    class Meta(_Table.Meta):
        db_table = "book_texts"


class Branch(_Table):
    id = models.UUIDField(primary_key=True)
    time_zone = models.TextField()
    opening_hours = PlainJSON()
    closed_days = PlainJSON()

    class Meta(_Table.Meta):
        db_table = "branches"


class Copy(_Table):
    id = models.UUIDField(primary_key=True)
    book = models.ForeignKey(Book, models.CASCADE, related_name="copies")
    branch = models.ForeignKey(Branch, models.CASCADE)
    status = models.TextField()
    material_type = models.TextField()
    loanable = models.BooleanField()
    event_id = models.UUIDField(null=True)
    updated_at = models.DateTimeField()
    version = models.IntegerField()

    class Meta(_Table.Meta):
        db_table = "copies"


class User(_Table):
    id = models.UUIDField(primary_key=True)
    category = models.TextField()
    status = models.TextField()
    expires_on = models.DateField(null=True)

    class Meta(_Table.Meta):
        db_table = "users"


class LoanPolicy(_Table):
    id = models.UUIDField(primary_key=True)
    user_category = models.TextField(null=True)
    material_type = models.TextField(null=True)
    branch = models.ForeignKey(Branch, models.CASCADE, null=True)
    period_length = models.IntegerField()
    max_loans = models.IntegerField(null=True)
    max_overdue = models.IntegerField(null=True)
    max_debt = models.BigIntegerField(null=True)
    lends = models.BooleanField()
    fee_per_day = models.BigIntegerField()
    fee_cap = models.BigIntegerField(null=True)
    grace_days = models.IntegerField()
    lost_fee = models.BigIntegerField()

    class Meta(_Table.Meta):
        db_table = "loan_policies"


class Loan(_Table):
    id = models.UUIDField(primary_key=True, default=uuid7)
    user = models.ForeignKey(User, models.CASCADE, null=True)
    copy = models.ForeignKey(Copy, models.CASCADE, null=True)
    book = models.ForeignKey(Book, models.CASCADE, null=True)
    branch = models.ForeignKey(Branch, models.CASCADE, null=True)
    user_category = models.TextField()
    material_type = models.TextField()
    status = models.TextField()
    lent_at = models.DateTimeField()
    due_at = models.DateTimeField()
    returned_at = models.DateTimeField(null=True)
    renewals = models.IntegerField(default=0)
    renewed_at = models.DateTimeField(null=True)
    recalled_at = models.DateTimeField(null=True)
    policy = models.ForeignKey(LoanPolicy, models.CASCADE, null=True)
    terms = PlainJSON()
    event_id = models.UUIDField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta(_Table.Meta):
        db_table = "loans"

    @property
    def overdue(self) -> bool:
        return self.status == "open" and self.due_at < timezone.now()


class Hold(_Table):
    id = models.UUIDField(primary_key=True)
    user_id = models.UUIDField(null=True)
    book_id = models.UUIDField(null=True)
    copy_id = models.UUIDField(null=True)
    status = models.TextField()
    rank = models.BigIntegerField()
    suspended_until = models.DateField(null=True)
    trapped_copy_id = models.UUIDField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta(_Table.Meta):
        db_table = "holds"


class Fee(_Table):
    id = models.UUIDField(primary_key=True)
    user_id = models.UUIDField()
    outstanding = models.BigIntegerField()

    class Meta(_Table.Meta):
        db_table = "fees"


class Block(_Table):
    id = models.UUIDField(primary_key=True)
    user_id = models.UUIDField()
    reason = models.TextField()
    expires_at = models.DateTimeField(null=True)
    lifted_at = models.DateTimeField(null=True)

    class Meta(_Table.Meta):
        db_table = "blocks"


class Event(_Table):
    id = models.UUIDField(primary_key=True, default=uuid7)
    kind = models.TextField()
    subject_type = models.TextField()
    subject_id = models.UUIDField(null=True)
    actor_type = models.TextField()
    actor_id = models.UUIDField(null=True)
    user_id = models.UUIDField(null=True)
    data = PlainJSON()
    occurred_at = models.DateTimeField()
    undo = PlainJSON(null=True)
    undo_until = models.DateTimeField(null=True)

    class Meta(_Table.Meta):
        db_table = "events"


class AuditEntry(_Table):
    id = models.UUIDField(primary_key=True, default=uuid7)
    occurred_at = models.DateTimeField()
    action = models.TextField()
    outcome = models.TextField()
    actor_type = models.TextField()
    actor_id = models.UUIDField(null=True)
    target_type = models.TextField(null=True)
    target_id = models.UUIDField(null=True)
    request_id = models.TextField(null=True)
    address = models.TextField(null=True)
    details = PlainJSON()

    class Meta(_Table.Meta):
        db_table = "audit_log"
