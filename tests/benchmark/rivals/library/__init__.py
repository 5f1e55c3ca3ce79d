"""Django's application: the models."""
