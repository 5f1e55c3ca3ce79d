"""A library's circulation desk as an API, written contract first."""
