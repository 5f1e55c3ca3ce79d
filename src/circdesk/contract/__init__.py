"""The OpenAPI document at work: load, bundle, check, compile, validate, serve."""
