"""HTTP face of circulation, by noun."""
