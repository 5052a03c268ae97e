//go:build cgo

package main

/*
__attribute__((noinline)) static unsigned long spend(unsigned long x) {
	for (int i = 0; i < 200000; i++) {
		x ^= x << 13; x ^= x >> 7; x ^= x << 17;
	}
	return x;
}
*/
import "C"

func init() {
	kinds["c"] = func(end func() bool) {
		x := C.ulong(1)
		for !end() {
			x = C.spend(x)
		}
		sink += uint64(x)
	}
}
