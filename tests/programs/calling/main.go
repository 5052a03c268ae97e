// Sets its GOMAXPROCS to 64 where the variable is not set, as many programs do, prints it and waits.
package main

import (
	"os"
	"runtime"
	"strconv"
)

func main() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(64)
	}
	os.Stdout.WriteString(strconv.Itoa(runtime.GOMAXPROCS(0)) + "\n")
	os.Stdin.Read(make([]byte, 1))
}
