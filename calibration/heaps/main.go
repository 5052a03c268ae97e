// Command heaps is a set of services in miniature that keep data in memory and allocate beside it,
// each in another way, for measuring what the garbage collector costs with a memory limit near the
// live heap, and with one that fits.
//
// Four times a second it writes a line to standard output: the wall clock in nanoseconds and how
// many units of work are done. It runs until it is killed.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sync/atomic"
	"time"
)

// done counts finished units of work.
var done atomic.Int64

// kinds make a program: they fill its heap with about so many MiB, and return what one unit of work
// is. Units run one after the other unless the kind starts goroutines by itself.
var kinds = map[string]func(mib int) func(random *rand.Rand){
	// looked at while the model was mended
	"trees":  keepTrees,
	"blocks": keepBlocks,
	"churn":  churnMap,
	// held out
	"orders":    serveOrders,
	"lru":       keepRecent,
	"sessions":  keepSmallMaps,
	"stacks":    parkGoroutines,
	"words":     indexWords,
	"documents": keepDocuments,
	"windows":   keepWindows,
}

func main() {
	kind := flag.String("kind", "", "which program")
	mib := flag.Int("live", 60, "MiB to keep, about")
	rate := flag.Float64("rate", 0, "units of work a second; 0: as many as it can")
	burst := flag.Duration("burst", 0, "work for this long at four times the rate, then rest three times as long")
	fill := flag.Int("fill", 0, "units of work as fast as it can at the start")
	flag.Parse()
	start, ok := kinds[*kind]
	// A rate above a million a second would leave less than a microsecond between arrivals.
	if !ok || *mib <= 0 || *rate < 0 || *rate > 1e6 {
		fmt.Fprintln(os.Stderr, "heaps: no such -kind, or a number out of range")
		os.Exit(2)
	}
	unit := start(*mib)
	go work(unit, *rate, *burst, *fill)
	for range time.Tick(250 * time.Millisecond) {
		fmt.Println(time.Now().UnixNano(), done.Load())
	}
}

// work does units at random moments (exponential gaps), rate times a second on average. It falls at
// most a second behind and drops what came due before.
func work(unit func(*rand.Rand), rate float64, burst time.Duration, fill int) {
	random := rand.New(rand.NewSource(1))
	for ; fill > 0; fill-- {
		unit(random)
	}
	if burst > 0 {
		rate *= 4
	}
	begun := time.Now()
	for due := begun; ; {
		if rate > 0 {
			due = due.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
			switch wait := time.Until(due); {
			case wait > 5*time.Millisecond: // less often: waking up should not be most of the work
				time.Sleep(wait)
			case wait < -time.Second:
				continue
			}
		}
		if burst > 0 && time.Since(begun)%(4*burst) >= burst {
			time.Sleep(3 * burst)
			due = time.Now()
			continue
		}
		unit(random)
	}
}
