//go:build go1.14
// +build go1.14

package main

import _ "unsafe" // go:linkname

// What runtime/pprof writes profiles with: a return address for every inlined call as well.
//
//go:linkname gotaxExpandFinal runtime/pprof.runtime_expandFinalInlineFrame
func gotaxExpandFinal(stack []uintptr) []uintptr

func gotaxExpand(pc uintptr) []uintptr { return gotaxExpandFinal([]uintptr{pc}) }
