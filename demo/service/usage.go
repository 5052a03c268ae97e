package main

import (
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"
)

// usage is one line of output. Everything but the moment, the settings and the
// live heap counts up from the start, so the difference of two lines is what
// happened between them.
type usage struct {
	AtNS       int64   `json:"at_ns"` // Unix time
	Requests   int64   `json:"requests"`
	Malformed  int64   `json:"malformed"`
	Dropped    int64   `json:"dropped"`
	CPUSeconds float64 `json:"cpu_s"` // user and system, by the kernel's account
	GCCycles   uint64  `json:"gc_cycles"`
	LiveBytes  uint64  `json:"live_heap_bytes"` // what the last collection found alive
	GOMAXPROCS int     `json:"gomaxprocs"`
	GoVersion  string  `json:"go_version"`
}

// readUsage does not stop the world (runtime.ReadMemStats would).
func readUsage(a *agent, s *source) (usage, error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return usage{}, err
	}
	heap := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/gc/heap/live:bytes"}, // since Go 1.21
	}
	metrics.Read(heap)
	return usage{
		AtNS:       time.Now().UnixNano(),
		Requests:   a.requests.Load(),
		Malformed:  a.malformed.Load(),
		Dropped:    s.dropped.Load(),
		CPUSeconds: time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds(),
		GCCycles:   heap[0].Value.Uint64(),
		LiveBytes:  heap[1].Value.Uint64(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		GoVersion:  runtime.Version(),
	}, nil
}
