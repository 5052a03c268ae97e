// Keeps 16 MiB alive, allocates 512 MiB beside it, prints its GOMAXPROCS and waits.
//
// The last collection is one without allocations: whatever the host is doing, exactly what is alive
// counts as such.
package main

import (
	"os"
	"runtime"
	"strconv"
)

var alive [][]byte
var dropped []byte

func main() {
	for i := 0; i < 256; i++ {
		alive = append(alive, make([]byte, 64<<10))
	}
	for i := 0; i < 8192; i++ {
		dropped = make([]byte, 64<<10)
	}
	dropped = nil
	runtime.GC()
	os.Stdout.WriteString(strconv.Itoa(runtime.GOMAXPROCS(0)) + "\n")
	os.Stdin.Read(make([]byte, 1))
}
