//go:build cgo
// +build cgo

package main

/*
static int twice(int n) { return 2 * n; }
*/
import "C"

func native(n int) int { return int(C.twice(C.int(n))) }
