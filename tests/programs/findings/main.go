// Command findings spends CPU time in one way each: what gotax has a finding for.
//
// -threads goroutines each do -work milliseconds of it and then sleep -rest milliseconds, again and
// again; with -rest 0 they never stop.
package main

import (
	"flag"
	"os"
	"runtime"
	"sync"
	"time"
)

var kinds = map[string]func(end func() bool){
	"compute":  compute,
	"allocate": allocate,
	"reuse":    reuse,
	"collect":  collect,
	"pass":     pass,
	"batch":    batch,
	"lock":     lock,
	"shard":    shard,
}

var sink uint64

func compute(end func() bool) {
	x := uint64(1)
	for !end() {
		for i := 0; i < 20_000; i++ {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
	}
	sink += x
}

type record struct {
	next *record
	data [4]uint64
}

// allocate: much that is dropped at once.
func allocate(end func() bool) {
	for !end() {
		var last *record
		for i := 0; i < 200; i++ {
			last = &record{next: last}
		}
		sink += last.data[0]
	}
}

// reuse: the same lists as allocate, in records that it keeps.
func reuse(end func() bool) {
	records := make([]record, 200)
	for !end() {
		var last *record
		for i := range records {
			records[i] = record{next: last}
			last = &records[i]
		}
		sink += last.data[0]
	}
}

var kept = make([]*record, 400_000)

// collect: a large heap of pointers, which is replaced all the time, so that it is marked often.
func collect(end func() bool) {
	for i := range kept {
		if kept[i] == nil {
			kept[i] = &record{next: kept[i/2]}
		}
	}
	large := make([][]byte, 64)
	for i := 0; !end(); i++ {
		large[i%len(large)] = make([]byte, 1<<20) // cheap to get, and it makes the collector run
	}
}

// pass: two goroutines that hand over one value at a time.
func pass(end func() bool) {
	there, back := make(chan int), make(chan int)
	go func() {
		for value := range there {
			back <- value
		}
	}()
	for !end() {
		for i := 0; i < 100; i++ {
			there <- i
			<-back
		}
	}
	close(there)
}

// batch: two goroutines that hand over many values at a time.
func batch(end func() bool) {
	there, back := make(chan []int), make(chan []int)
	go func() {
		for values := range there {
			for i := range values {
				values[i]++
			}
			back <- values
		}
	}()
	values := make([]int, 50_000)
	for !end() {
		there <- values
		values = <-back
	}
	close(there)
}

var shared sync.Mutex

// lock: one mutex, held for a moment, by goroutines that give way to each other.
func lock(end func() bool) {
	for !end() {
		for i := 0; i < 100; i++ {
			shared.Lock()
			runtime.Gosched()
			sink++
			shared.Unlock()
		}
	}
}

// shard: a mutex for each goroutine, held for a hundred steps.
func shard(end func() bool) {
	var own sync.Mutex
	sum := uint64(0)
	for !end() {
		for i := 0; i < 100; i++ {
			own.Lock()
			for j := uint64(0); j < 100; j++ {
				sum += j ^ sum<<1
			}
			own.Unlock()
		}
	}
	shared.Lock()
	sink += sum
	shared.Unlock()
}

func pause(work, rest int, together bool) time.Duration {
	if !together {
		return time.Duration(rest) * time.Millisecond
	}
	cycle := time.Duration(work+rest) * time.Millisecond
	now := time.Now()
	return now.Truncate(cycle).Add(cycle).Sub(now)
}

func main() {
	kind := flag.String("kind", "compute", "what to spend CPU time on")
	threads := flag.Int("threads", 1, "goroutines that do")
	work := flag.Int("work", 20, "milliseconds of it at a time")
	rest := flag.Int("rest", 0, "milliseconds between")
	most := flag.Int("most", 0, "goroutines that work at once; 0: all")
	together := flag.Bool("together", false, "all begin at the same moments: the multiples of work and rest")
	flag.Parse()
	spend, ok := kinds[*kind]
	if !ok {
		os.Exit(2)
	}
	turns := make(chan struct{}, max(*most, 1))
	for i := 0; i < *threads; i++ {
		go func() {
			for {
				if *most > 0 {
					turns <- struct{}{}
				}
				until := time.Now().Add(time.Duration(*work) * time.Millisecond)
				spend(func() bool { return time.Now().After(until) })
				if *most > 0 {
					<-turns
				}
				time.Sleep(pause(*work, *rest, *together))
			}
		}()
	}
	select {}
}
