//go:build cgo

package main

/*
__attribute__((noinline)) static unsigned long spend(unsigned long x, int steps) {
	for (int i = 0; i < steps; i++) {
		x ^= x << 13; x ^= x >> 7; x ^= x << 17;
	}
	return x;
}
*/
import "C"

func init() {
	kinds["c"] = calls(200_000)
	// Some 30 ms: meanwhile Go lets another thread run in its place.
	kinds["long-c"] = calls(20_000_000)
}

func calls(steps C.int) func(end func() bool) {
	return func(end func() bool) {
		x := C.ulong(1)
		for !end() {
			x = C.spend(x, steps)
		}
		sink += uint64(x)
	}
}
