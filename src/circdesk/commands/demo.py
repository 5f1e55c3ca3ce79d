"""The demo that `circdesk serve --demo` prepares, and the file with its credentials."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy.exc import IntegrityError

from circdesk.auth.demo import (
    CONFIDENTIAL_CLIENT_ID,
    LOOPBACK_REDIRECT,
    PEOPLE,
    PUBLIC_CLIENT_ID,
    DemoSecrets,
    choose_passwords,
    seed_access,
)
from circdesk.catalog.demo.seeding import lock_table, seed_demo
from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.db.unit_of_work import Sessions, make_sessions, unit_of_work
from circdesk.settings import Settings, SettingsError
from circdesk.settings_sources import write_private

JSON = dict[str, Any]


def demo_file(settings: Settings) -> Path:
    """Where the demo's credentials stand."""
    return settings.instance / "demo.json"


def prepare_demo(settings: Settings) -> None:
    """Migrate, fill an empty database, and write credentials for it to `demo_file`.

    Raises:
        SettingsError: The deployment is for real, or its users have what the demo's need.
    """
    if settings.env in ("staging", "production"):
        raise SettingsError(f"--demo does not go with CIRCDESK_ENV={settings.env}")
    path = demo_file(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = make_engine(settings)
    try:
        upgrade(engine)
        sessions = make_sessions(engine)
        seed_demo(sessions)
        keep_access(sessions, path, settings.public_url)
    finally:
        engine.dispose()


def keep_access(sessions: Sessions, path: Path, base_url: str) -> None:
    """Let the file and the database say the same; of two starts one waits for the other.

    Raises:
        SettingsError: Other users have what the demo's need.
    """
    kept = _read_secrets(path)
    with unit_of_work(sessions, writing=False) as session:
        passwords = choose_passwords(session, kept)
    try:
        with unit_of_work(sessions, writing=True) as session:
            lock_table(session, "users")
            secrets = seed_access(session, kept, base_url, passwords)
            # Should the commit fail, the next start finds that the file does not fit.
            write_private(path, _document(secrets, base_url))
    except IntegrityError as error:
        raise SettingsError(
            "--demo: another user has the email or the card number of one of the demo's users"
        ) from error


def _read_secrets(path: Path) -> DemoSecrets:
    """The secrets of an earlier start; none where there is no such file, or no file like it."""
    try:
        content = json.loads(path.read_text())
        return DemoSecrets(
            passwords={user["role"]: str(user["password"]) for user in content["users"]},
            api_keys={role: str(key) for role, key in content["api_keys"].items()},
            client_secret=str(content["clients"]["confidential"]["client_secret"]),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return DemoSecrets()


def _document(secrets: DemoSecrets, base_url: str) -> JSON:
    """What `demo.json` says."""
    return {
        "base_url": base_url,
        "users": [
            {
                "role": person.role,
                "email": person.email,
                "password": secrets.passwords[person.role],
                "card_number": person.card_number,
                "id": str(person.id),
            }
            for person in PEOPLE
        ],
        "api_keys": dict(secrets.api_keys),
        "clients": {
            "confidential": {
                "client_id": str(CONFIDENTIAL_CLIENT_ID),
                "client_secret": secrets.client_secret,
            },
            "public": {
                "client_id": str(PUBLIC_CLIENT_ID),
                "redirect_uri": LOOPBACK_REDIRECT,
            },
        },
    }
