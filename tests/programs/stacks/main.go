// Command stacks shows a sampler as many distinct stacks as it is asked for.
//
// A seeded generator draws paths through eight functions that call each other; each path is another
// stack, for each step another return address. A path is walked down, a little is computed at its
// end, and the next one follows: every path gets the same share of the CPU time. With the defaults
// (1,000,000 paths) nearly every sample is a stack never seen before; 99 samples a second of one
// busy core are then about 5,900 distinct stacks a minute.
//
// Each second and at the end it writes one JSON line (see report).
package main

import (
	"encoding/json"
	"flag"
	"math/rand"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// walk is the rest of a path: the steps still to take, and what has been computed.
type walk struct {
	path   []byte
	rounds int
	x      uint64
}

// The functions differ in nothing but their names. The result is used after the call, so that no
// compiler may turn the call into a jump. steps is filled by init because the functions refer to it.
var steps [8]func(*walk) uint64

func init() {
	steps = [8]func(*walk) uint64{north, northeast, east, southeast, south, southwest, west, northwest}
}

//go:noinline
func north(w *walk) uint64 { return w.next()(w) + 1 }

//go:noinline
func northeast(w *walk) uint64 { return w.next()(w) + 2 }

//go:noinline
func east(w *walk) uint64 { return w.next()(w) + 3 }

//go:noinline
func southeast(w *walk) uint64 { return w.next()(w) + 4 }

//go:noinline
func south(w *walk) uint64 { return w.next()(w) + 5 }

//go:noinline
func southwest(w *walk) uint64 { return w.next()(w) + 6 }

//go:noinline
func west(w *walk) uint64 { return w.next()(w) + 7 }

//go:noinline
func northwest(w *walk) uint64 { return w.next()(w) + 8 }

// next takes one step of the path; at its end it is the work.
func (w *walk) next() func(*walk) uint64 {
	if len(w.path) == 0 {
		return arrive
	}
	step := steps[w.path[0]]
	w.path = w.path[1:]
	return step
}

//go:noinline
func arrive(w *walk) uint64 {
	x := w.x
	for i := 0; i < w.rounds; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

// wander walks path after path, the same sequence for the same seed.
func wander(seed int64, paths, depth int, busy float64, walked *atomic.Int64) {
	path := make([]byte, depth)
	w := walk{x: 1}
	started, used := time.Now(), time.Duration(0)
	for i := 0; ; i++ {
		before := time.Now()
		// Number i of this seed, so that paths repeat without being kept.
		random := rand.New(&source{uint64(seed)<<32 + uint64(i%paths)})
		w.path = path[:4+random.Intn(depth-3)]
		for j := range w.path {
			w.path[j] = byte(random.Intn(len(steps)))
		}
		w.rounds = 200_000 + random.Intn(200_000) // 0.2 to 0.8 ms; setting out costs 2 µs
		w.x += w.next()(&w) | 1
		walked.Add(1)
		if used += time.Since(before); busy < 1 {
			time.Sleep(time.Until(started.Add(time.Duration(float64(used) / busy))))
		}
	}
}

// source is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): unlike math/rand's own, free to seed.
type source struct{ state uint64 }

func (s *source) Uint64() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *source) Int63() int64    { return int64(s.Uint64() >> 1) }
func (s *source) Seed(seed int64) { s.state = uint64(seed) }

// report is one line: what happened since the start.
type report struct {
	AtNS      int64  `json:"at_ns"` // Unix time
	ProcessNS int64  `json:"process_ns"`
	Walked    int64  `json:"walked"`
	Distinct  int64  `json:"distinct"` // paths walked at least once
	GoVersion string `json:"go_version"`
}

func main() {
	duration := flag.Duration("duration", 0, "end after this time (0: run until SIGTERM or Ctrl-C)")
	busy := flag.Float64("busy", 1, "part of a core of each goroutine, above 0 to 1")
	paths := flag.Int("paths", 1_000_000, "distinct paths of each goroutine")
	depth := flag.Int("depth", 40, "frames of the longest path, 4 or more")
	goroutines := flag.Int("goroutines", 1, "how many walk at the same time, each with paths of its own")
	flag.Parse()
	if flag.NArg() > 0 || *busy <= 0 || *busy > 1 || *paths < 1 || *depth < 4 || *goroutines < 1 {
		flag.Usage()
		os.Exit(2)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	var end <-chan time.Time
	if *duration > 0 {
		end = time.After(*duration)
	}
	walked := make([]atomic.Int64, *goroutines)
	var started sync.WaitGroup
	for i := range walked {
		started.Add(1)
		go func(i int) {
			started.Done()
			wander(int64(i), *paths, *depth, *busy, &walked[i])
		}(i)
	}
	started.Wait()
	lines := json.NewEncoder(os.Stdout)
	second := time.NewTicker(time.Second)
	for running := true; running; {
		select {
		case <-second.C:
		case <-stop:
			running = false
		case <-end:
			running = false
		}
		var used syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
			panic(err)
		}
		line := report{
			AtNS:      time.Now().UnixNano(),
			ProcessNS: used.Utime.Nano() + used.Stime.Nano(),
			GoVersion: runtime.Version(),
		}
		for i := range walked {
			n := walked[i].Load()
			line.Walked += n
			if n > int64(*paths) {
				n = int64(*paths)
			}
			line.Distinct += n
		}
		if err := lines.Encode(line); err != nil {
			os.Exit(1) // the reader has gone
		}
	}
}
