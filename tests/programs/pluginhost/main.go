// Command pluginhost loads the plugin that its argument names, and works in it and out of it in turns.
package main

import (
	"os"
	"plugin"
	"time"
)

var sum int

//go:noinline
func spinInHost(stop func() bool) {
	for n := 0; n&0xfff != 0 || !stop(); n++ {
		sum += n
	}
}

func until(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().After(end) }
}

func main() {
	loaded, err := plugin.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	found, err := loaded.Lookup("Spin")
	if err != nil {
		panic(err)
	}
	spin := found.(func(func() bool))
	for {
		spin(until(20 * time.Millisecond))
		spinInHost(until(20 * time.Millisecond))
	}
}
