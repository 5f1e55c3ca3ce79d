"""HTTP face of the catalogue, a module for each noun."""
