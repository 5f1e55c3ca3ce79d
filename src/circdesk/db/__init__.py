"""The database: engine, sessions, units of work, column types, lists, migrations."""
