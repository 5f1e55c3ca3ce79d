"""Holds: the queue for a title, the hold shelf, and the way there."""
