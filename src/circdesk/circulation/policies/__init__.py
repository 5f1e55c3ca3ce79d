"""Loan policies: which rule decides, and what it says."""
