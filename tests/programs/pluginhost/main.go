// Command pluginhost works by turns in itself and in the plugin that its argument names, with 3 Ps.
package main

import (
	"fmt"
	"os"
	"plugin"
	"runtime"
	"time"
)

var sum int

//go:noinline
func spinInHost(until time.Time) {
	for n := 0; n&0xfff != 0 || time.Now().Before(until); n++ {
		sum += n
	}
}

func main() {
	runtime.GOMAXPROCS(3)
	loaded, err := plugin.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	symbol, err := loaded.Lookup("Spin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	spin := symbol.(func(time.Time))
	for {
		spinInHost(time.Now().Add(10 * time.Millisecond))
		spin(time.Now().Add(10 * time.Millisecond))
	}
}
