"""Imports as jobs: their files, their leases, and the runs of a worker."""
