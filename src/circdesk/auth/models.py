"""Tables of credentials: what proves who somebody is. Every secret is stored hashed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from circdesk.accounts.models import User
from circdesk.db.base import Base, Identified, Moment, Timestamped
from circdesk.db.versions import Versioned


class WebSession(Identified, Timestamped, Base):
    """A browser that is signed in; the cookie carries the token whose hash stands here."""

    __tablename__ = "web_sessions"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    last_used_at: Mapped[Moment]
    expires_at: Mapped[Moment] = mapped_column(index=True)
    address: Mapped[str | None]
    user_agent: Mapped[str | None]

    user: Mapped[User] = relationship(lazy="raise_on_sql")


class ApiKey(Identified, Timestamped, Versioned, Base):
    """A secret for scripts, with at most its owner's scopes."""

    __tablename__ = "api_keys"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    # The beginning of the secret, by which its owner recognises it.
    prefix: Mapped[str]
    secret_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    # The secret before the last rotation, good for a while longer.
    previous_hash: Mapped[str | None] = mapped_column(unique=True)
    previous_expires_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise_on_sql")


class SignInFailure(Base):
    """Failed attempts to sign in, counted for a subject: an account, an address, or both."""

    __tablename__ = "sign_in_failures"

    subject: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    last_failed_at: Mapped[Moment] = mapped_column(index=True)


class PasswordReset(Base):
    """A token that sets a new password once."""

    __tablename__ = "password_resets"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[Moment]
    expires_at: Mapped[Moment] = mapped_column(index=True)


class OAuthClient(Identified, Timestamped, Versioned, Base):
    """An application that acts for users, or for itself; its id is its client_id."""

    __tablename__ = "oauth_clients"

    name: Mapped[str]
    # confidential or public (RFC 6749, 2.1); a public one has no secret.
    type: Mapped[str]
    secret_hash: Mapped[str | None]
    grant_types: Mapped[list[str]] = mapped_column(JSON)
    redirect_uris: Mapped[list[str]] = mapped_column(JSON)
    scopes: Mapped[list[str]] = mapped_column(JSON)


class Consent(Identified, Timestamped, Base):
    """What a user allows a client to do; it is not asked again."""

    __tablename__ = "consents"
    __table_args__ = (UniqueConstraint("user_id", "client_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    client_id: Mapped[UUID] = mapped_column(
        ForeignKey("oauth_clients.id", ondelete="CASCADE"), index=True
    )
    scopes: Mapped[list[str]] = mapped_column(JSON)

    client: Mapped[OAuthClient] = relationship(lazy="raise_on_sql")


class Grant(Identified, Timestamped, Base):
    """What a user granted a client at one sign-in: the family of its tokens.

    Codes, refresh tokens and access tokens all name their grant, so that they end with it.
    """

    __tablename__ = "grants"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    client_id: Mapped[UUID] = mapped_column(
        ForeignKey("oauth_clients.id", ondelete="CASCADE"), index=True
    )
    scopes: Mapped[list[str]] = mapped_column(JSON)
    # The resource that the tokens are for (RFC 8707), their audience.
    resource: Mapped[str]
    expires_at: Mapped[Moment] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="raise_on_sql")
    client: Mapped[OAuthClient] = relationship(lazy="raise_on_sql")


class AuthorizationCode(Base):
    """A code that is exchanged for tokens once (RFC 6749, 4.1); replay ends its grant."""

    __tablename__ = "authorization_codes"

    code_hash: Mapped[str] = mapped_column(primary_key=True)
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("grants.id", ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str]
    # Whether the request named its redirect_uri; then the exchange must, too.
    redirect_uri_given: Mapped[bool]
    code_challenge: Mapped[str]
    created_at: Mapped[Moment]
    expires_at: Mapped[Moment] = mapped_column(index=True)
    used_at: Mapped[datetime | None]

    grant: Mapped[Grant] = relationship(lazy="raise_on_sql")


class RefreshToken(Base):
    """A refresh token; it is used once and replaced, and using it again ends its grant."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    grant_id: Mapped[UUID] = mapped_column(ForeignKey("grants.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[Moment]
    expires_at: Mapped[Moment] = mapped_column(index=True)
    used_at: Mapped[datetime | None]

    grant: Mapped[Grant] = relationship(lazy="raise_on_sql")


class SigningKey(Identified, Base):
    """A key pair that signs access tokens; its id is the tokens' `kid`."""

    __tablename__ = "signing_keys"

    algorithm: Mapped[str]
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSON)
    # Encrypted with CIRCDESK_ENCRYPTION_KEY; gone once the key signs no more.
    private_key: Mapped[str | None]
    created_at: Mapped[Moment]
    # From when on it signs no more, and until when it still verifies what it has signed.
    retired_at: Mapped[datetime | None]
    verifies_until: Mapped[datetime | None]


class Revocation(Base):
    """The id of a token, grant or client whose access tokens are refused until they expire.

    Or the hash of an API key's secret that was taken back, for as long as that is told.
    """

    __tablename__ = "revocations"

    subject: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[Moment] = mapped_column(index=True)
