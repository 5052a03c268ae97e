// Command workloads is a set of services in miniature of different character, for measuring what a
// change of GOMAXPROCS does to their CPU time.
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

// kinds start a workload at a rate of units a second; those that are closed loops ignore the rate.
var kinds = map[string]func(rate float64){
	// for the fit
	"http":      serveHTTP,
	"fanout":    fanOut,
	"tickers":   runTickers,
	"trees":     replaceTrees,
	"digest":    digestBlocks,
	"saturate":  saturate,
	"mutex":     shareMutex,
	"stages":    passStages,
	"lookup":    lookUp,
	"bursts":    formatBursts,
	"datagrams": echoDatagrams,
	"pingpong":  pingPong,
	"relay":     relay,
	"tables":    scanTables,
	"condition": waitOnCondition,
	"images":    blurImages,
	"pollers":   poll,
	"multiplex": multiplex,
	"sessions":  keepSessions,
	"journal":   keepJournal,
	"graph":     walkGraph,
	"index":     indexWords,
	"values":    storeValues,
	"counters":  countEvents,
	"files":     copyFiles,
	"pool":      workInPool,
	"batches":   reduceBatches,
	"lines":     matchLines,
	"sign":      signMessages,
	"primes":    countPrimes,
	"chores":    runChores,
	"deadlines": keepDeadlines,
	// held out of it
	"render":    renderPages,
	"rpc":       callProcedures,
	"mergesort": sortInParallel,
	"ingest":    ingestLines,
	"broker":    publish,
	"matrix":    multiply,
	"cache":     cacheObjects,
	"parser":    parseSources,
	"pipes":     pipeDocuments,
	"gateway":   askBackends,
	"tls":       encrypt,
}

func main() {
	kind := flag.String("kind", "", "which workload")
	rate := flag.Float64("rate", 100, "units of work a second")
	flag.Parse()
	start, ok := kinds[*kind]
	// A rate above a million a second would leave less than a microsecond between arrivals.
	if !ok || !(*rate > 0 && *rate <= 1e6) {
		fmt.Fprintln(os.Stderr, "workloads: no such -kind, or -rate out of range")
		os.Exit(2)
	}
	go start(*rate)
	for range time.Tick(250 * time.Millisecond) {
		fmt.Println(time.Now().UnixNano(), done.Load())
	}
}

// arrive calls unit at random moments (exponential gaps), rate times a second on average. It falls
// at most a second behind and drops what came due before.
func arrive(rate float64, unit func(random *rand.Rand)) {
	random := rand.New(rand.NewSource(1))
	due := time.Now()
	for {
		due = due.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		switch wait := time.Until(due); {
		case wait > 0:
			time.Sleep(wait)
		case wait < -time.Second:
			continue
		}
		unit(random)
	}
}
