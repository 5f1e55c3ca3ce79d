"""All tables, imported in one place, so that the metadata is complete for migrations and tests."""

import circdesk.accounts.models
import circdesk.audit.models
import circdesk.auth.models
import circdesk.catalog.imports.models
import circdesk.catalog.models
import circdesk.circulation.models
import circdesk.edge.models
import circdesk.events.models
import circdesk.news.models  # noqa: F401 - the import is what adds the tables.
from circdesk.db.base import Base

__all__ = ["Base"]
