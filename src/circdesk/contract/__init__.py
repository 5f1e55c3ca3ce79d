"""The OpenAPI document at work: load, bundle, check, compile, validate, serve."""

import warnings

# Connexion imports Starlette's test client, which asks for a package that nothing here uses.
warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient`")
