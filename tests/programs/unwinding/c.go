//go:build cgo

package main

/*
#include <stdint.h>

void calledFromC(int64_t);

__attribute__((noinline)) static int64_t spin_in_c(int64_t n) {
	volatile int64_t sum = 0;
	for (int64_t i = 0; i < n; i++) sum += i;
	return sum;
}

static void call_back(int64_t until_ns) { calledFromC(until_ns); }
*/
import "C"

import "time"

func init() {
	ways["into-c"] = callC
	ways["out-of-c"] = func(until time.Time) { C.call_back(C.int64_t(until.UnixNano())) }
}

//go:noinline
func callC(until time.Time) {
	for time.Now().Before(until) {
		C.spin_in_c(10000)
	}
}

//export calledFromC
func calledFromC(until C.int64_t) {
	workForC(int64(until))
}

//go:noinline
func workForC(until int64) {
	for n := 0; n&0xff != 0 || time.Now().UnixNano() < until; n++ {
		copyBlocks()
	}
}
