//go:build !go1.7
// +build !go1.7

package main

import "runtime"

func innermost(pc uintptr, f *runtime.Func) (string, string, int) {
	file, line := f.FileLine(pc)
	return f.Name(), file, line
}
