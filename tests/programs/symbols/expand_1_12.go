//go:build go1.12 && !go1.14
// +build go1.12,!go1.14

package main

import (
	"runtime"
	"strings"
	"unsafe"
)

// The loop that is in the runtime's gentraceback: nothing else there gives all inlined calls.
func gotaxExpand(pc uintptr) []uintptr {
	pcdata, funcdata := int32(2), uint8(4)
	if strings.HasPrefix(runtime.Version(), "go1.12") {
		pcdata, funcdata = 1, 2
	}
	f := gotaxFindfunc(pc - 1)
	if f.entry == nil {
		return []uintptr{pc}
	}
	tree := gotaxFuncdata(f, funcdata)
	stack := []uintptr{pc}
	for tree != nil {
		index := gotaxPcdatavalue(f, pcdata, pc-1, nil)
		if index < 0 {
			break
		}
		// inlinedCall is 20 bytes, the last four are parentPc.
		parent := *(*int32)(unsafe.Pointer(uintptr(tree) + 20*uintptr(index) + 16))
		pc = *f.entry + uintptr(parent) + 1
		stack = append(stack, pc)
	}
	return stack
}

type gotaxFuncInfo struct {
	entry *uintptr // the first word of runtime._func
	datap unsafe.Pointer
}

//go:linkname gotaxFindfunc runtime.findfunc
func gotaxFindfunc(pc uintptr) gotaxFuncInfo

//go:linkname gotaxFuncdata runtime.funcdata
func gotaxFuncdata(f gotaxFuncInfo, i uint8) unsafe.Pointer

//go:linkname gotaxPcdatavalue runtime.pcdatavalue
func gotaxPcdatavalue(f gotaxFuncInfo, table int32, pc uintptr, cache unsafe.Pointer) int32
