"""What every request crosses before and after its handler."""
