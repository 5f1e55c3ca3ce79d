"""The audit log: who did what to accounts and credentials, append-only."""
