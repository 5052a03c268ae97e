// Command pluginpart is a plugin: code of its own on the runtime of the program that loads it.
package main

import "time"

var sum int

//go:noinline
func spinInPlugin(until time.Time) {
	for n := 0; n&0xfff != 0 || time.Now().Before(until); n++ {
		sum += n
	}
}

// Spin works until then.
func Spin(until time.Time) { spinInPlugin(until) }

func main() {}
