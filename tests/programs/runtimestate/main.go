// Prints its GOMAXPROCS, GOGC, number of GC cycles, GOMEMLIMIT (0 before Go 1.19), live heap (0 before
// Go 1.21), the goal of the heap and scanned stacks with globals (likewise) at the start and after each line of input, which may be
// "percent N", "limit N", "gc", "keep N" (bytes) or "spin N".
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

func main() {
	input := bufio.NewReader(os.Stdin)
	for {
		percent := debug.SetGCPercent(-1) // there is no other way to ask
		debug.SetGCPercent(percent)
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		fmt.Println(runtime.GOMAXPROCS(0), percent, stats.NumGC, setLimit(-1), liveHeap(), stats.NextGC, roots())
		line, err := input.ReadString('\n')
		if err != nil {
			return
		}
		words := append(strings.Fields(line), "", "")
		number, _ := strconv.ParseInt(words[1], 10, 64)
		switch words[0] {
		case "percent":
			debug.SetGCPercent(int(number))
		case "limit":
			setLimit(number)
		case "gc":
			runtime.GC()
		case "keep":
			kept = make([]byte, number)
		case "spin":
			for ; number > 0; number-- {
				go spin()
			}
		}
	}
}

var (
	sink uint64
	kept []byte
)

func spin() {
	for {
		sink++
	}
}
