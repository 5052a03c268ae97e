// symbols has something of everything that tables of symbols must tell: methods and interfaces,
// closures, inlined calls, type parameters, cgo. It builds with Go 1.2 and later.
package main

import (
	"fmt"
	"os"
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
	fmt.Println(sink)
}
