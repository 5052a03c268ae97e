"""The store of reports: ClickHouse, embedded or a server."""
