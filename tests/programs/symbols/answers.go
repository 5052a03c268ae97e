package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
)

type gotaxFrame struct {
	function, file string
	line           int
}

func gotaxAnchor() {}

// With GOTAX_ANSWERS set, the program answers program counters from standard input (hexadecimal,
// one a line) with what the runtime says of them: tab-separated function, file and line of every
// activation, innermost first. The first line of the answer is the address of main.gotaxAnchor,
// from which the load bias follows.
func init() {
	if os.Getenv("GOTAX_ANSWERS") == "" {
		return
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	fmt.Fprintf(out, "%x\n", reflect.ValueOf(gotaxAnchor).Pointer())
	out.Flush()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		pc, err := strconv.ParseUint(in.Text(), 16, 64)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if f := runtime.FuncForPC(uintptr(pc)); f == nil {
			fmt.Fprint(out, "-")
		} else {
			for i, frame := range gotaxFrames(uintptr(pc), f) {
				if i > 0 {
					out.WriteByte('\t')
				}
				fmt.Fprintf(out, "%s\t%s\t%d", frame.function, frame.file, frame.line)
			}
		}
		out.WriteByte('\n')
	}
	out.Flush()
	os.Exit(0)
}
