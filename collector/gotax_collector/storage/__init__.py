"""Where reports are kept: ClickHouse, embedded or a server."""
