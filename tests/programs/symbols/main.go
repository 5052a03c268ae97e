// symbols answers program counters from standard input (hexadecimal, one a line) with what the
// runtime says of them: innermost function, file and line, and the enclosing function. The first
// line of the answer is the address of main.anchor, from which the load bias follows.
// It builds with Go 1.5 and later.
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
)

type shape interface {
	area(int) int
}

type square struct{ side int }

func (s square) area(k int) int { return third(s.side*s.side, k) }

// Small enough to be inlined into one another, three deep.
func first(a, b int) int  { return a + b }
func second(a, b int) int { return first(a, b)*2 + len(os.Args) }
func third(a, b int) int  { return second(a, b) - first(b, a) }

var sink int
var current shape = square{3}

func anchor() { sink = current.area(2) + third(sink, 4) + generic() + native(sink) }

func main() {
	anchor()
	func() { defer func() { sink++ }(); anchor() }()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintf(out, "%x\n", reflect.ValueOf(anchor).Pointer())
	out.Flush()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		pc, err := strconv.ParseUint(in.Text(), 16, 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		f := runtime.FuncForPC(uintptr(pc))
		if f == nil {
			fmt.Fprintln(out, "-")
			continue
		}
		name, file, line := innermost(uintptr(pc), f)
		fmt.Fprintf(out, "%s\t%s\t%d\n", name, file, line)
	}
}
