"""Authentication by certificates and bearer tokens. Changed files are reloaded."""
