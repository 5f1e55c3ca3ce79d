"""Files of records, read: formats, and what their records say."""
