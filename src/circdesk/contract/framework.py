"""Connexion, as far as the contract layer builds on it, without what only others need of it."""

from circdesk.late import later

# Its test client, and its clients for contracts and tokens elsewhere.
with later("httpx", "requests", "starlette.testclient"):
    from connexion import FlaskApp
    from connexion.apps.flask import FlaskApi, FlaskASGIApp
    from connexion.middleware import SpecMiddleware
    from connexion.middleware.lifespan import LifespanMiddleware
    from connexion.middleware.main import API
    from connexion.operations import AbstractOperation
    from connexion.resolver import Resolution, Resolver
    from connexion.spec import OpenAPISpecification, Specification

__all__ = [
    "API",
    "AbstractOperation",
    "FlaskASGIApp",
    "FlaskApi",
    "FlaskApp",
    "LifespanMiddleware",
    "OpenAPISpecification",
    "Resolution",
    "Resolver",
    "SpecMiddleware",
    "Specification",
]
