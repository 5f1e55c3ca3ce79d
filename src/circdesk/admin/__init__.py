"""What administrators alone see: clients, signing keys, the audit log."""
