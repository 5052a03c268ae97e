"""Receives the streams of agents, checks the reports, and passes them to the store in batches."""
