// Command character is one of five programs of different character, which accounts for its own CPU
// time in the two ways Go offers: runtime/metrics and a runtime/pprof profile.
//
// It works from its start. On the line "start" on standard input it begins its profile, on "stop"
// it ends it, and answers each with one JSON line (see account). At the end of its input it exits.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// A kind of work, done a few milliseconds at a time. The function that it returns does the next
// piece; the number is for varying it.
var kinds = map[string]func() func(int){
	"allocate": allocating,
	"channels": communicating,
	"timers":   waiting,
	"http":     serving,
	"compute":  computing,
}

// account is CPU time, all counted from the start of the process.
type account struct {
	ProcessNS int64 `json:"process_ns"` // getrusage
	// Seconds by /cpu/classes/NAME:cpu-seconds. Go brings them up to date at the end of a garbage
	// collection (runtime/mstats.go, cpuStats.accumulate), so one is made for it: before the
	// profile begins, and after it has ended.
	Classes    map[string]float64 `json:"classes"`
	GoVersion  string             `json:"go_version"`
	GOMAXPROCS int                `json:"gomaxprocs"`
}

func processTime() int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

func classes() map[string]float64 {
	runtime.GC()
	const prefix, suffix = "/cpu/classes/", ":cpu-seconds"
	var samples []metrics.Sample
	for _, d := range metrics.All() {
		if strings.HasPrefix(d.Name, prefix) {
			samples = append(samples, metrics.Sample{Name: d.Name})
		}
	}
	metrics.Read(samples)
	found := make(map[string]float64)
	for _, s := range samples {
		name := strings.TrimSuffix(strings.TrimPrefix(s.Name, prefix), suffix)
		found[name] = s.Value.Float64()
	}
	return found
}

// work does pieces until the process has used its part of a core, and rests.
func work(piece func(int), busy float64) {
	started, before := time.Now(), processTime()
	for n := 0; ; n++ {
		piece(n)
		due := started.Add(time.Duration(float64(processTime()-before) / busy))
		// Few long rests: each one costs a switch of threads.
		if rest := time.Until(due); rest > 5*time.Millisecond {
			time.Sleep(rest)
		}
	}
}

func run() error {
	kind := flag.String("kind", "compute", "allocate, channels, timers, http or compute")
	busy := flag.Float64("busy", 0.5, "part of a core to use")
	rate := flag.Int("profrate", 100, "samples a second of the profile")
	path := flag.String("profile", "", "file for the profile")
	flag.Parse()
	begin, known := kinds[*kind]
	if !known || *busy <= 0 || *rate < 1 || *path == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	go work(begin(), *busy)

	answers := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	answer := account{GoVersion: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0)}
	var file *os.File
	for lines.Scan() {
		var err error
		switch lines.Text() {
		case "start":
			answer.Classes = classes()
			if file, err = os.Create(*path); err != nil {
				return err
			}
			if *rate != 100 {
				// StartCPUProfile sets 100 itself; when a rate is set already it keeps that one,
				// notes it in the file and complains on standard error (runtime/cpuprof.go).
				runtime.SetCPUProfileRate(*rate)
			}
			if err = pprof.StartCPUProfile(file); err != nil {
				return err
			}
			answer.ProcessNS = processTime()
		case "stop":
			answer.ProcessNS = processTime()
			pprof.StopCPUProfile()
			if err = file.Close(); err != nil {
				return err
			}
			answer.Classes = classes()
		default:
			return fmt.Errorf("neither start nor stop: %q", lines.Text())
		}
		if err = answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "character:", err)
		os.Exit(1)
	}
}
