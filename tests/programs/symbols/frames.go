//go:build go1.7
// +build go1.7

package main

import "runtime"

// All activations at pc, innermost first. CallersFrames takes return addresses and looks one byte
// before them.
func gotaxFrames(pc uintptr, _ *runtime.Func) (found []gotaxFrame) {
	frames := runtime.CallersFrames(gotaxExpand(pc + 1))
	for {
		frame, more := frames.Next()
		found = append(found, gotaxFrame{frame.Function, frame.File, frame.Line})
		if !more {
			return found
		}
	}
}
