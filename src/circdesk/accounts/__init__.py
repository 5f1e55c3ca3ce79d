"""Accounts: who uses the library, with their cards, contact and privacy choices."""
