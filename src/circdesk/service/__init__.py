"""The service about itself: index, probes, problems, contract."""
