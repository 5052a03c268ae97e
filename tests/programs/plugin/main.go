// Command plugin is a Go plugin: code with tables of its own in a Go program.
package main

var sum int

// Spin works until it is told to stop.
//
//go:noinline
func Spin(stop func() bool) {
	for n := 0; n&0xfff != 0 || !stop(); n++ {
		sum += n
	}
}

func main() {}
