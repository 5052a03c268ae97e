// Command gosym symbolizes addresses with debug/gosym, as a Go program that wants to would:
// hexadecimal addresses on standard input, function, file and line on standard output.
package main

import (
	"bufio"
	"debug/elf"
	"debug/gosym"
	"fmt"
	"log"
	"os"
	"strconv"
)

func table(path string) (*gosym.Table, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := file.Section(".gopclntab").Data()
	if err != nil {
		return nil, err
	}
	return gosym.NewTable(nil, gosym.NewLineTable(data, file.Section(".text").Addr))
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: gosym BINARY")
	}
	symbols, err := table(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		pc, err := strconv.ParseUint(lines.Text(), 16, 64)
		if err != nil {
			log.Fatal(err)
		}
		file, line, function := symbols.PCToLine(pc)
		name := "?"
		if function != nil {
			name = function.Name
		}
		fmt.Fprintf(out, "%x\t%s\t%s\t%d\n", pc, name, file, line)
	}
}
