// Command knownwork spends CPU time in named functions and says how much in each.
//
// main.sixty, main.thirty and main.ten share one thread in the ratio of their names. Whichever is
// furthest behind its share runs next, and its time is read from the thread's own CPU clock before
// and after, so the split is 60/30/10 to within one slice at every moment and the reported truth
// does not depend on how fast the loops are. Slices are of random length (seeded): equal ones
// would keep step with a sampler. main.allocate, if asked for, does the same on a thread of its own.
//
// Each second and at the end it writes one JSON line (see report). With -cpuprofile it also takes
// its own runtime/pprof profile of the whole run.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// The loops differ in nothing but their names. A closure or a shared loop would put the work into
// one function.

//go:noinline
func sixty(rounds int, x uint64) uint64 {
	for i := 0; i < rounds; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

//go:noinline
func thirty(rounds int, x uint64) uint64 {
	for i := 0; i < rounds; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

//go:noinline
func ten(rounds int, x uint64) uint64 {
	for i := 0; i < rounds; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

type node struct {
	next    *node
	payload []byte
}

// allocate makes n linked objects of 16 to 256 bytes and lets go of the list given.
//
//go:noinline
func allocate(n int, random *rand.Rand) *node {
	var head *node
	for i := 0; i < n; i++ {
		head = &node{head, make([]byte, 16<<random.Intn(5))}
	}
	return head
}

// account is CPU time by function, in nanoseconds, written by one thread and read by another.
type account struct {
	sixty, thirty, ten, allocate atomic.Int64
}

// threadCPU is the CPU time of the calling thread: CLOCK_THREAD_CPUTIME_ID, clock_gettime(2).
func threadCPU() int64 {
	const clockThreadCPUTimeID = 3
	var t syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME,
		clockThreadCPUTimeID, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		panic(errno)
	}
	return t.Nano()
}

// split runs the three functions. busy is the part of the time it may use, 1 for all of it.
func split(a *account, busy float64) {
	runtime.LockOSThread()
	type share struct {
		work   func(int, uint64) uint64
		used   *atomic.Int64
		weight int64
	}
	shares := []share{{sixty, &a.sixty, 6}, {thirty, &a.thirty, 3}, {ten, &a.ten, 1}}
	random := rand.New(rand.NewSource(1))
	x := random.Uint64() | 1
	pace := pacer{busy: busy, started: time.Now()}
	for {
		behind := shares[0]
		for _, s := range shares[1:] {
			// used/weight is smallest for the one furthest behind.
			if s.used.Load()*behind.weight < behind.used.Load()*s.weight {
				behind = s
			}
		}
		rounds := 100_000 + random.Intn(900_000) // 0.1 to 2 ms
		before := threadCPU()
		x = behind.work(rounds, x)
		used := threadCPU() - before
		behind.used.Add(used)
		pace.rest(used)
	}
}

// litter allocates on a thread of its own and holds about 10 MB alive.
func litter(a *account, busy float64) {
	runtime.LockOSThread()
	random := rand.New(rand.NewSource(2))
	alive := make([]*node, 16)
	pace := pacer{busy: busy, started: time.Now()}
	for i := 0; ; i++ {
		before := threadCPU()
		alive[i%len(alive)] = allocate(2000+random.Intn(4000), random)
		used := threadCPU() - before
		a.allocate.Add(used)
		pace.rest(used)
	}
}

// pacer keeps one thread at a part of a core.
type pacer struct {
	busy    float64
	started time.Time
	used    int64 // nanoseconds
}

func (p *pacer) rest(used int64) {
	p.used += used
	if p.busy >= 1 {
		return
	}
	due := p.started.Add(time.Duration(float64(p.used) / p.busy))
	// Few long rests: each one has the scheduler hand this thread's P over and fetch it back.
	if wait := time.Until(due); wait > 10*time.Millisecond {
		time.Sleep(wait)
	}
}

// report is one line: CPU time since the start. OtherNS is the rest of the process: the garbage
// collector's own threads, the scheduler, this report, a profile that is being taken.
type report struct {
	AtNS       int64            `json:"at_ns"` // Unix time
	ProcessNS  int64            `json:"process_ns"`
	FunctionNS map[string]int64 `json:"function_ns"`
	OtherNS    int64            `json:"other_ns"`
	GoVersion  string           `json:"go_version"`
}

func (a *account) report() report {
	// The functions first: what they use until the process is read must not make OtherNS negative.
	functions := map[string]int64{
		"main.sixty":    a.sixty.Load(),
		"main.thirty":   a.thirty.Load(),
		"main.ten":      a.ten.Load(),
		"main.allocate": a.allocate.Load(),
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	process := used.Utime.Nano() + used.Stime.Nano()
	other := process
	for _, ns := range functions {
		other -= ns
	}
	return report{time.Now().UnixNano(), process, functions, other, runtime.Version()}
}

func main() {
	duration := flag.Duration("duration", 0, "end after this time (0: run until SIGTERM or Ctrl-C)")
	busy := flag.Float64("busy", 1, "part of a core for the three functions together, 0 to 1")
	allocation := flag.Float64("allocate", 0, "part of a core for main.allocate, 0 to 1")
	profile := flag.String("cpuprofile", "", "write a runtime/pprof CPU profile to this file")
	rate := flag.Int("profrate", 100, "samples a second of that profile")
	flag.Parse()
	if flag.NArg() > 0 || *busy < 0 || *busy > 1 || *allocation < 0 || *allocation > 1 || *rate < 1 {
		flag.Usage()
		os.Exit(2)
	}
	// Few collections: their threads run too shortly for a sampler to see them in proportion, and
	// their cost is counted only in OtherNS.
	debug.SetGCPercent(800)
	finish, err := startProfile(*profile, *rate)
	if err != nil {
		fmt.Fprintln(os.Stderr, "knownwork:", err)
		os.Exit(2)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	var end <-chan time.Time
	if *duration > 0 {
		end = time.After(*duration)
	}

	var spent account
	if *busy > 0 {
		go split(&spent, *busy)
	}
	if *allocation > 0 {
		go litter(&spent, *allocation)
	}
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
		if !running {
			if err := finish(); err != nil {
				fmt.Fprintln(os.Stderr, "knownwork:", err)
				os.Exit(1)
			}
		}
		if err := lines.Encode(spent.report()); err != nil {
			os.Exit(1) // the reader has gone
		}
	}
}

// startProfile returns what ends the profile; with no path there is none.
func startProfile(path string, rate int) (func() error, error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if rate != 100 {
		// StartCPUProfile sets 100 itself; when a rate is set already it keeps that one, notes it
		// in the file and complains on standard error (runtime/cpuprof.go).
		runtime.SetCPUProfileRate(rate)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
