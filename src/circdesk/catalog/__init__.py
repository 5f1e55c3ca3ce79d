"""Books, authors, subjects, branches and copies: what the library holds."""
