"""How things in the contract are named."""

import re

SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

ARTICLES = frozenset(("a", "an", "the"))

# The verbs that an operationId may begin with, so that one deed has one word: what reads one
# thing is `get_...`, what reads many is `list_...`. A new deed is added here.
VERBS = frozenset(
    (
        # Resources, and what is read about them.
        *("list", "get", "find", "search", "count", "measure", "report"),
        *("suggest", "preview", "explain"),
        *("create", "replace", "update", "delete", "merge", "move", "link", "unlink"),
        *("import", "export", "upload", "download", "publish", "unpublish", "hide", "restore"),
        # The desk.
        *("decide", "check", "return", "renew", "recall", "receive", "transfer", "place", "claim"),
        *("cancel", "pause", "resume", "withdraw", "mark", "pay", "refund", "waive"),
        *("declare", "recover"),
        # Accounts and access.
        *(
            "register",
            "block",
            "unblock",
            "lift",
            "suspend",
            "deactivate",
            "forget",
            "change",
            "reset",
        ),
        *("sign", "confirm", "verify", "issue", "rotate", "revoke", "introspect", "exchange"),
        *("authorize", "grant", "accept", "redeem"),
        # Machinery.
        *("run", "retry", "replay", "rebuild", "resolve", "start", "stop", "end", "test"),
        *("subscribe", "unsubscribe", "deliver", "send", "stream", "set", "undo", "release"),
        *("reverse",),
    )
)
