"""MARC 21, in its transmission format and in XML."""
