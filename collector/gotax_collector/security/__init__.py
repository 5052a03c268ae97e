"""Who may come in: certificates and bearer tokens, read anew when their files change."""
