// Command service is a node agent in miniature. It receives captured HTTP
// requests, parses each one and its JSON, and keeps the latest as spans: the
// shape of the program in the production story that gotax's demo replays.
//
// Nothing in it asks the Go runtime for more work than such an agent does: one
// reader hands events over an unbuffered channel to a pool of goroutines, and
// those hand what they parsed to one that holds it, over another.
// Whatever the scheduler and the collector cost is due to GOMAXPROCS.
//
// Once a second, and when it ends, it writes one JSON line (see usage) to
// standard output.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	rate := flag.Float64("rate", 200_000.0/60, "events a second")
	workers := flag.Int("pool", 256, "goroutines that wait for events")
	duration := flag.Duration("duration", 0, "end after this time (0: run until SIGTERM or Ctrl-C)")
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("unexpected argument %q", flag.Arg(0)))
	}
	// A rate above a million a second would leave less than a microsecond between events.
	if !(*rate > 0 && *rate <= 1e6) || *workers < 1 || *workers > 1<<20 || *duration < 0 {
		fail(fmt.Errorf("-rate must be above 0 and at most 1e6, -pool 1 to %d, -duration not negative", 1<<20))
	}
	if err := run(*rate, *workers, *duration); err != nil {
		fail(err)
	}
}

// run serves until a signal or, when duration is above 0, until it has passed.
func run(rate float64, workers int, duration time.Duration) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	var end <-chan time.Time
	if duration > 0 {
		end = time.After(duration)
	}

	agent := newAgent()
	events := make(chan []byte)
	for i := 0; i < workers; i++ {
		go agent.work(events)
	}
	go agent.collect()
	source := newSource(rate)
	go source.deliver(events)

	lines := json.NewEncoder(os.Stdout)
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		var last bool
		select {
		case <-second.C:
		case <-stop:
			last = true
		case <-end:
			last = true
		}
		line, err := readUsage(agent, source)
		if err != nil {
			return err
		}
		if err := lines.Encode(line); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "service:", err)
	os.Exit(2)
}
