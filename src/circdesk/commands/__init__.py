"""The commands behind `circdesk`, one module each."""
