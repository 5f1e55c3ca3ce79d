"""The same few operations in other frameworks, each as its documentation shows, and with our SQL.

None of this needs Circdesk; `frameworks.py` starts each module's `app` in a process of its own.
"""
