"""HTTP face of what administrators look after."""
