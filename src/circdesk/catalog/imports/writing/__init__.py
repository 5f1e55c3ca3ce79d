"""Records, written into the catalogue: matched, planned, stored."""
