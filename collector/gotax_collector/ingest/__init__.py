"""From the stream of an agent to a checked report that waits for the store."""
