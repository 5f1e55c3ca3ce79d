"""The OAuth 2 authorization server: clients, grants and their tokens, on Authlib's parts.

RFC 9700 is the bar: PKCE with S256 for every client, exact redirect URIs, refresh tokens that are
used once, and nothing of the flows that it advises against.
"""
