"""Requests and answers as Pydantic models, for the frameworks that are built on it."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Sort = Literal["title", "-title", "year", "-year"]


class BookQuery(BaseModel):
    """What the list of books is asked with."""

    model_config = ConfigDict(extra="forbid")

    page: Annotated[int, Field(ge=1, le=10_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20
    sort: Sort | None = None
    q: Annotated[str | None, Field(min_length=1, max_length=300)] = None
    author: UUID | None = None
    available: bool | None = None
    year_from: Annotated[int | None, Field(ge=1, le=2999)] = None


class Named(BaseModel):
    """An author or a subject."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: Annotated[str, Field(min_length=1, max_length=300)]


class BookOut(BaseModel):
    """A book."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    title: Annotated[str, Field(min_length=1, max_length=1000)]
    subtitle: str | None
    authors: list[Named]
    isbns: list[Annotated[str, Field(pattern=r"^97[89][0-9]{10}$")]]
    publisher: str | None
    year: int | None
    language: Annotated[str | None, Field(pattern=r"^[a-z]{3}$")]
    subjects: list[Named]
    summary: str | None
    material_type: str
    edition: str | None
    copies_total: Annotated[int, Field(ge=0)]
    copies_available: Annotated[int, Field(ge=0)]
    created_at: datetime
    updated_at: datetime


class PageOut(BaseModel):
    """A page of a list."""

    model_config = ConfigDict(from_attributes=True)

    items: list[BookOut]
    page: int
    per_page: int
    total: int


class CheckOutIn(BaseModel):
    """What is lent to whom."""

    model_config = ConfigDict(extra="forbid")

    user: UUID
    copy_: Annotated[UUID, Field(alias="copy")]


class ReturnIn(BaseModel):
    """A copy that is there."""

    model_config = ConfigDict(extra="forbid")

    copy_: Annotated[UUID, Field(alias="copy")]


class LoanOut(BaseModel):
    """A loan."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID | None
    copy_id: UUID | None
    book_id: UUID | None
    branch_id: UUID | None
    material_type: str
    status: Literal["open", "claimed_returned", "lost", "returned"]
    lent_at: datetime
    due_at: datetime
    overdue: bool
    returned_at: datetime | None
    renewals: int
    renewed_at: datetime | None
    recalled_at: datetime | None
    policy_id: UUID | None
    created_at: datetime
    updated_at: datetime


class Compensation(BaseModel):
    """The call that takes an action back."""

    operation_id: str
    parameters: dict[str, str]
    deadline: datetime


class Money(BaseModel):
    """An amount."""

    amount: str
    currency: str


class CheckOutOut(BaseModel):
    """A loan that was just made."""

    loan: LoanOut
    warnings: list[Any]
    compensation: Compensation


class ReturnOut(BaseModel):
    """What became of a copy that was returned."""

    copy_id: UUID
    copy_status: str
    next_step: str
    branch_id: UUID | None
    hold: dict[str, Any] | None
    loan: LoanOut
    fee: Money
    refund: Money
    warnings: list[Any]
    compensation: Compensation
