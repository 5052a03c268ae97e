package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"container/list"
	"context"
	"encoding/gob"
	"fmt"
	"html/template"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

var page = template.Must(template.New("page").Parse(
	`<h1>{{.Title}}</h1><ul>{{range .Rows}}<li class="{{.Class}}">{{.Text}}: {{.Number}}</li>{{end}}</ul>`))

type row struct {
	Class, Text string
	Number      int
}

// renderPages: HTML from a template, by a pool behind a buffered channel.
func renderPages(rate float64) {
	jobs := make(chan int, 128)
	buffers := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	for i := 0; i < 16; i++ {
		go func() {
			for number := range jobs {
				rows := make([]row, 12)
				for n := range rows {
					rows[n] = row{"plain", "row <" + strconv.Itoa(n) + ">", number + n}
				}
				out := buffers.Get().(*bytes.Buffer)
				out.Reset()
				if page.Execute(out, map[string]any{"Title": "A & B", "Rows": rows}) == nil {
					done.Add(1)
				}
				buffers.Put(out)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- random.Intn(1000) })
}

type call struct {
	Method string
	Values []float64
}

// callProcedures: gob over Unix sockets, one connection per caller.
func callProcedures(rate float64) {
	folder, err := os.MkdirTemp("", "rpc")
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("unix", filepath.Join(folder, "socket"))
	if err != nil {
		panic(err)
	}
	jobs := make(chan int, 512)
	for i := 0; i < 24; i++ {
		go func() {
			connection, err := net.Dial("unix", listener.Addr().String())
			if err != nil {
				panic(err)
			}
			in, out := gob.NewDecoder(bufio.NewReader(connection)), gob.NewEncoder(connection)
			for n := range jobs {
				var answer call
				if out.Encode(call{"sum", make([]float64, n)}) != nil || in.Decode(&answer) != nil {
					return
				}
				done.Add(1)
			}
		}()
	}
	go arrive(rate, func(random *rand.Rand) { jobs <- 10 + random.Intn(100) })
	for opened := 0; ; opened++ {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		if opened == 23 {
			os.RemoveAll(folder) // a killed process leaves nothing behind
		}
		go func() {
			in, out := gob.NewDecoder(bufio.NewReader(connection)), gob.NewEncoder(connection)
			for {
				var asked call
				if in.Decode(&asked) != nil {
					return
				}
				sum := 0.0
				for _, value := range asked.Values {
					sum += value
				}
				if out.Encode(call{asked.Method, []float64{sum}}) != nil {
					return
				}
			}
		}()
	}
}

func mergeSort(values []int) []int {
	if len(values) < 256 {
		slices.Sort(values)
		return values
	}
	left := make(chan []int, 1)
	go func() { left <- mergeSort(values[:len(values)/2]) }()
	right := mergeSort(values[len(values)/2:])
	first, merged := <-left, make([]int, 0, len(values))
	for len(first) > 0 && len(right) > 0 {
		if first[0] < right[0] {
			merged, first = append(merged, first[0]), first[1:]
		} else {
			merged, right = append(merged, right[0]), right[1:]
		}
	}
	return append(append(merged, first...), right...)
}

// sortInParallel: recursion with a goroutine for each half.
func sortInParallel(rate float64) {
	arrive(rate, func(random *rand.Rand) {
		values := make([]int, 4096)
		for i := range values {
			values[i] = random.Int()
		}
		go func() {
			mergeSort(values)
			done.Add(1)
		}()
	})
}

var entry = regexp.MustCompile(`^(\S+) (\w+) "([^"]*)" (\d+)$`)

// ingestLines: parses log lines as they come, and compresses what gathered five times a second.
func ingestLines(rate float64) {
	lines, parsed := make(chan string, 256), make(chan []string, 256)
	for i := 0; i < 4; i++ {
		go func() {
			for line := range lines {
				if fields := entry.FindStringSubmatch(line); fields != nil {
					parsed <- fields[1:]
				}
			}
		}()
	}
	go func() {
		var batch bytes.Buffer
		flush := time.Tick(200 * time.Millisecond)
		for {
			select {
			case fields := <-parsed:
				fmt.Fprintln(&batch, fields)
				done.Add(1)
			case <-flush:
				var out bytes.Buffer
				packer := gzip.NewWriter(&out)
				_, _ = packer.Write(batch.Bytes())
				_ = packer.Close()
				batch.Reset()
			}
		}
	}()
	arrive(rate, func(random *rand.Rand) {
		lines <- "10.0.0." + strconv.Itoa(random.Intn(256)) + ` GET "/items/` + strconv.Itoa(random.Intn(1e6)) + `" 200`
	})
}

// publish: every message goes to twelve subscribers, each waiting with a deadline.
func publish(rate float64) {
	const count = 12
	var topics [count]chan []byte
	var sum [count]int
	for i := range topics {
		topics[i] = make(chan []byte, 4)
		go func() {
			for {
				wait, cancel := context.WithTimeout(context.Background(), time.Second)
				select {
				case message := <-topics[i]:
					for _, char := range message {
						sum[i] += int(char)
					}
					if i == 0 {
						done.Add(1)
					}
				case <-wait.Done():
				}
				cancel()
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) {
		message := make([]byte, 500+random.Intn(1000))
		for _, topic := range topics {
			topic <- message
		}
	})
}

// multiply: three goroutines that multiply matrices without end.
func multiply(float64) {
	const size = 96
	for i := 0; i < 3; i++ {
		go func() {
			var a, b, c [size][size]float64
			for i := range a {
				for j := range a {
					a[i][j], b[i][j] = float64(i+j), float64(i-j)
				}
			}
			for {
				for i := range a {
					for j := range a {
						sum := 0.0
						for k := range a {
							sum += a[i][k] * b[k][j]
						}
						c[i][j] = sum
					}
				}
				a[0][0] += c[1][1]
				done.Add(1)
			}
		}()
	}
	select {}
}

type object struct {
	key    string
	fields map[string]string
}

// cacheObjects: a cache of the most recent 30,000 objects behind a reader-writer lock.
func cacheObjects(rate float64) {
	const room = 30_000
	var lock sync.RWMutex
	recent, index := list.New(), make(map[string]*list.Element, room)
	jobs := make(chan int, 256)
	for i := 0; i < 32; i++ {
		go func() {
			for number := range jobs {
				key := "object-" + strconv.Itoa(number)
				lock.RLock()
				_, found := index[key]
				lock.RUnlock()
				if !found {
					made := &object{key, make(map[string]string, 6)}
					for n := 0; n < 6; n++ {
						made.fields["field"+strconv.Itoa(n)] = key + strconv.Itoa(n)
					}
					lock.Lock()
					index[key] = recent.PushFront(made)
					if recent.Len() > room {
						oldest := recent.Remove(recent.Back()).(*object)
						delete(index, oldest.key)
					}
					lock.Unlock()
				}
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- int(random.ExpFloat64() * 60_000) })
}
