// Prints its GOMAXPROCS at the start and after each line of input; "set N" changes it first.
package main

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"

	_ "go.uber.org/automaxprocs"
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
	}
}
