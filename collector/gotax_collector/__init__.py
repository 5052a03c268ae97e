"""The collector: takes the streams of many agents, keeps them, and answers questions of a fleet.

It knows ``gotax.wire`` and nothing else of the agent.
"""
