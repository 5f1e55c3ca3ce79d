"""Fees: what people owe, and the append-only ledger of how that came to be."""
