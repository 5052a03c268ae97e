// Prints its GOMAXPROCS at the start and after each line of input; "set N" changes it first,
// "default" gives it back to the runtime.
package main

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	input := bufio.NewReader(os.Stdin)
	for {
		os.Stdout.WriteString(strconv.Itoa(runtime.GOMAXPROCS(0)) + "\n")
		line, err := input.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if len(words) == 2 && words[0] == "set" {
			n, _ := strconv.Atoi(words[1])
			runtime.GOMAXPROCS(n)
		}
		if len(words) == 1 && words[0] == "default" {
			runtime.SetDefaultGOMAXPROCS()
		}
	}
}
