// Command library is a c-shared library: a Go runtime in a process that is no Go program.
package main

import "C"

import (
	"runtime"
	"time"
)

var sum int

//go:noinline
func spinInLibrary(until time.Time) {
	for n := 0; n&0xfff != 0 || time.Now().Before(until); n++ {
		sum += n
	}
}

// Spin works for so many milliseconds in a goroutine of its own, with that many Ps.
//
//export Spin
func Spin(milliseconds, procs C.int) {
	runtime.GOMAXPROCS(int(procs))
	done := make(chan struct{})
	go func() {
		spinInLibrary(time.Now().Add(time.Duration(milliseconds) * time.Millisecond))
		close(done)
	}()
	<-done
}

func main() {}
