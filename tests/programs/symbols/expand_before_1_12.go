//go:build go1.7 && !go1.12
// +build go1.7,!go1.12

package main

// CallersFrames itself gives the inlined calls.
func gotaxExpand(pc uintptr) []uintptr { return []uintptr{pc} }
