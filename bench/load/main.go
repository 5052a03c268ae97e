// Load is one busy process of a simulated node: it burns a share of a core on one kind of work.
//
// It paces itself by its own CPU clock, so that the load of the host is the same on fast and slow
// machines, with and without a profiler beside it.
package main

import (
	"flag"
	"log"
	"sync"
	"syscall"
	"time"
)

// kind is set by the linker (-X main.kind=json): every kind is a binary of its own.
var kind = "json"

func main() {
	share := flag.Float64("share", 0.0625, "cores to use")
	flag.Parse()
	work, ok := kinds[kind]
	if !ok {
		log.Fatalf("no work of kind %q", kind)
	}
	unit := work()
	start, used := time.Now(), cpuTime()
	for {
		wanted := time.Duration(*share * float64(time.Since(start)))
		for cpuTime()-used < wanted {
			unit()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// cpuTime is what this process has used so far, system calls and the Go runtime included.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// spread runs a task on a pool of waiting goroutines and waits for all of them.
func spread(workers int, task func()) func() {
	todo, done := make(chan struct{}), make(chan struct{})
	for i := 0; i < workers; i++ {
		go func() {
			for range todo {
				task()
				done <- struct{}{}
			}
		}()
	}
	return func() {
		var wait sync.WaitGroup
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := 0; i < workers; i++ {
				<-done
			}
		}()
		for i := 0; i < workers; i++ {
			todo <- struct{}{}
		}
		wait.Wait()
	}
}
