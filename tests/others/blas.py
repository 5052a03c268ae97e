"""Multiplies matrices in bursts, with NumPy's OpenBLAS, and rests between them."""

import sys
import time

import numpy as np

SIZE = 600
REST_S = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2

left, right = np.random.rand(SIZE, SIZE), np.random.rand(SIZE, SIZE)
while True:
    for _ in range(24):
        left @ right
    time.sleep(REST_S)
