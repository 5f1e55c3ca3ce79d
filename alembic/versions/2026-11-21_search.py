"""What the engines search of the catalogue; the models leave this to the migrations.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# A word in the title weighs most, then a name, then a subject.
DOCUMENT = """
    ALTER TABLE book_texts ADD COLUMN document tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A')
        || setweight(to_tsvector('simple', people), 'B')
        || setweight(to_tsvector('simple', subjects), 'C')
        || setweight(to_tsvector('simple', rest), 'D')
        || setweight(to_tsvector('simple', variants), 'D')
    ) STORED
"""

# The text is folded, so words are what stands between blanks: that is what this tokenizer calls
# a word, in every script, whereas `unicode61` knows the letters of one old version of Unicode.
BOOK_SEARCH = """
    CREATE VIRTUAL TABLE book_search USING fts5(
        title, people, subjects, rest, variants,
        content='book_texts', content_rowid='id', tokenize='ascii'
    )
"""
REMOVE_OLD = """
    INSERT INTO book_search (book_search, rowid, title, people, subjects, rest, variants)
    VALUES ('delete', old.id, old.title, old.people, old.subjects, old.rest, old.variants);
"""
ADD_NEW = """
    INSERT INTO book_search (rowid, title, people, subjects, rest, variants)
    VALUES (new.id, new.title, new.people, new.subjects, new.rest, new.variants);
"""
TRIGGERS = {"INSERT": ADD_NEW, "UPDATE": REMOVE_OLD + ADD_NEW, "DELETE": REMOVE_OLD}


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(DOCUMENT)
        op.execute("CREATE INDEX ix_book_texts_document ON book_texts USING gin (document)")
        return
    op.execute(BOOK_SEARCH)
    op.execute("INSERT INTO book_search (book_search) VALUES ('rebuild')")
    for event, deed in TRIGGERS.items():
        name = f"book_texts_{event.lower()}"
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON book_texts BEGIN {deed} END")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE book_texts DROP COLUMN document")
        return
    for event in TRIGGERS:
        op.execute(f"DROP TRIGGER book_texts_{event.lower()}")
    op.execute("DROP TABLE book_search")
