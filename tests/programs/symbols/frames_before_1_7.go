//go:build !go1.7
// +build !go1.7

package main

import "runtime"

// No compiler of these releases tells of inlined calls.
func gotaxFrames(pc uintptr, f *runtime.Func) []gotaxFrame {
	file, line := f.FileLine(pc)
	return []gotaxFrame{{f.Name(), file, line}}
}
