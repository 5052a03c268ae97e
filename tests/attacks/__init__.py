"""Live attacks by containers, and by clients on the network, on gotax in its chart's limits."""
