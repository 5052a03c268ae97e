// Spends its CPU time in machine code that it has made itself, as a compiler of WebAssembly or of
// regular expressions does: generated HOW, where HOW says what memory the code is in.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

const turns = 1 << 20

// A loop of so many turns, with a frame or without, for each architecture.
func machineCode(frame bool) []byte {
	if runtime.GOARCH == "arm64" {
		words := []uint32{0xd2800000, 0xf2a00000 | turns>>16<<5, 0xf1000400, 0x54ffffe1}
		if frame {
			words = append([]uint32{0xa9bf7bfd, 0x910003fd}, words...)
			words = append(words, 0xa8c17bfd)
		}
		var code []byte
		for _, word := range append(words, 0xd65f03c0) {
			code = binary.LittleEndian.AppendUint32(code, word)
		}
		return code
	}
	code := binary.LittleEndian.AppendUint32([]byte{0x48, 0xc7, 0xc1}, turns) // mov $turns, %rcx
	code = append(code, 0x48, 0xff, 0xc9, 0x75, 0xfb)                         // dec %rcx; jnz -5
	if frame {
		code = append([]byte{0x55, 0x48, 0x89, 0xe5}, code...) // push %rbp; mov %rsp, %rbp
		code = append(code, 0x5d)                              // pop %rbp
	}
	return append(code, 0xc3)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// memory returns executable memory with the code in it.
func memory(how string, code []byte) uintptr {
	const size = 4096
	flags, fd := syscall.MAP_PRIVATE|syscall.MAP_ANON, -1
	switch how {
	case "anonymous":
	case "shared":
		flags = syscall.MAP_SHARED | syscall.MAP_ANON
	case "file", "deleted":
		flags = syscall.MAP_SHARED
		file, err := os.CreateTemp("", "generated")
		check(err)
		check(file.Truncate(size))
		if how == "deleted" {
			check(os.Remove(file.Name()))
		}
		fd = int(file.Fd())
	case "memfd":
		flags = syscall.MAP_SHARED
		number := map[string]uintptr{"amd64": 319, "arm64": 279}[runtime.GOARCH]
		name := []byte("code\x00")
		made, _, failed := syscall.Syscall(number, uintptr(unsafe.Pointer(&name[0])), 0, 0)
		if failed != 0 {
			check(failed)
		}
		fd = int(made)
		check(syscall.Ftruncate(fd, size))
	}
	data, err := syscall.Mmap(fd, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, flags)
	check(err)
	copy(data, code)
	check(syscall.Mprotect(data, syscall.PROT_READ|syscall.PROT_EXEC))
	return uintptr(unsafe.Pointer(&data[0]))
}

// function makes a func of an address: a func is a pointer to a word with the code's address.
func function(code uintptr) func() {
	word := &code
	return *(*func())(unsafe.Pointer(&word))
}

//go:noinline
func callGenerated(framed, bare func()) {
	framed()
	bare()
}

func main() {
	framed := function(memory(os.Args[1], machineCode(true)))
	bare := function(memory(os.Args[1], machineCode(false)))
	fmt.Println("ready")
	for {
		callGenerated(framed, bare)
	}
}
