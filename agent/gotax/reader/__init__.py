"""Read what containers own in a process that can be stopped: files, memory, and what is in them.

``pool.py`` is the way in. docs/decisions/0016-a-process-that-reads.md says why.
"""
