"""The stream to a collector: a queue, a spool on disk, a dictionary, one gRPC connection."""
