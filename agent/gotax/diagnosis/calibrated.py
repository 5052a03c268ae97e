"""Numbers of the model in saving.py. Written by `make calibrate`: do not edit.

one: 116 pairs, middle off by 19.1% in the median
several: 138 pairs, middle off by 14.4% in the median
up: 90 pairs, middle off by 54.7% in the median
"""

CPUS = 2
"""Of the machine that the runs were made on."""
UNCHANGED = 0.050
SLOPES = {
    "one": {
        "find": 1.083,
        "wake": 0.729,
        "park": 0.733,
        "poll": 0.640,
        "switch": 0.796,
        "mark": 0.632,
        "sweep": 0.810,
        "alloc": 0.477,
        "chan": 1.609,
        "syscall": 0.935,
        "user": 0.203,
    },
    "several": {
        "find": 0.524,
        "wake": 0.340,
        "park": 0.317,
        "poll": 0.368,
        "switch": 0.268,
        "mark": 0.251,
        "sweep": 0.349,
        "alloc": 0.215,
        "chan": 0.210,
        "syscall": 0.521,
        "user": 0.062,
    },
    "up": {
        "find": 0.000,
        "wake": 0.000,
        "park": 0.000,
        "poll": 0.000,
        "switch": 0.000,
        "mark": 0.000,
        "sweep": 0.000,
        "alloc": 0.000,
        "chan": 0.000,
        "syscall": 0.000,
        "user": 0.000,
    },
}
SPREAD = {
    "one": (0.051, 0.800),
    "several": (0.146, 0.800),
    "up": (0.794, 0.000),
}
