"""What the house rules let pass, name by name; whoever adds a name says why."""

# Path parameters that are keys by another name than `<noun>_id`.
PATH_KEYS = frozenset(
    (
        "code",  # A problem's code is its address, and it is no id of a row.
    )
)

# Enums whose values another standard wrote, by property, parameter or component.
FOREIGN_ENUMS = frozenset(
    (
        "alg",  # RFC 7518 writes signature algorithms as ES256.
        "code_challenge_method",  # RFC 7636 writes S256.
        "crv",  # RFC 8037 writes the curve as Ed25519.
        "currency",  # ISO 4217 writes EUR.
        "kty",  # RFC 7518 writes key types as EC.
        "token_type",  # RFC 6750 writes Bearer.
    )
)

# Objects that may hold anything, by their place in the document.
OPEN_OBJECTS = frozenset(
    (
        # A suggestion fills in another operation's parameters and body, whichever that is.
        "/components/schemas/Suggestion/properties/parameters",
        "/components/schemas/Suggestion/properties/body",
        # The values behind a reason are as different as the reasons.
        "/components/schemas/Reason/properties/values",
        # What an event tells is as different as the kinds of events.
        "/components/schemas/Event/properties/data",
        # OpenAPI itself says what the contract may hold.
        "/paths/~1openapi.json/get/responses/200/content/application~1json/schema",
        "/paths/~1openapi.yaml/get/responses/200/content/application~1yaml/schema",
    )
)

# Operations that write without credentials, by operationId; those under OAUTH always may.
ANONYMOUS_WRITES: frozenset[str] = frozenset(
    (
        "create_session",  # Who signs in has no credential yet.
        "redeem_password_reset",  # The token in the body is the credential.
        "register_user",  # Who becomes a member has no account yet.
        "send_password_reset",  # Who has forgotten the password cannot sign in.
    )
)

# Security schemes of a browser's own session, which has all scopes of its user.
OWN_SESSION = frozenset(("CsrfToken", "Session"))

# Scopes that no operation names, because they are asked for within one.
INNER_SCOPES: frozenset[str] = frozenset(
    (
        # Who may act at the desk may call; only lifting what stands in the way needs it.
        "circulation:override",
        "roles:write",  # Who may change accounts may call; only a change of the role needs it.
    )
)

# Below this path OAuth's own rules hold: its forms, its errors, its client authentication.
OAUTH = "/oauth/"
