"""Posts: the smallest domain, on which every other is modelled."""
