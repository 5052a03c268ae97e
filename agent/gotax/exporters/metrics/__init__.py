"""The metrics: names, labels and values, without a format or a library."""
