"""gotax: how much of a Go container's CPU is the Go runtime, and does GOMAXPROCS fit its limit?"""

__version__ = "0.1.0"
