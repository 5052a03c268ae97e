// Command changing is a service in miniature whose load comes and goes.
//
// Requests arrive at random moments. How many a second is -rate times a share that changes every
// few minutes, from nothing over a tenth to all of it, and for a while in short bursts. -kind says
// what a request does: "pass" allocates and goes through channels, "compute" only computes.
package main

import (
	"flag"
	"math/rand"
	"strconv"
	"time"
)

// phases are shares of the rate, one after the other and then again.
var phases = []struct {
	share   float64
	seconds int
}{
	{0.3, 150}, {1, 240}, {0.1, 210}, {0, 90}, {0.6, 300}, {0.05, 150},
	{1, 20}, {0, 30}, {1, 20}, {0, 30}, {1, 20}, {0.2, 120},
}

func share(elapsed time.Duration) float64 {
	total := 0
	for _, phase := range phases {
		total += phase.seconds
	}
	at := int(elapsed.Seconds()) % total
	for _, phase := range phases {
		if at -= phase.seconds; at < 0 {
			return phase.share
		}
	}
	return 0
}

type request struct {
	fields map[string]string
	answer chan int
}

func pass(number int, stage chan<- request) {
	fields := make(map[string]string, 8)
	for i := 0; i < 8; i++ {
		fields[strconv.Itoa(i)] = strconv.Itoa(number * i)
	}
	answer := make(chan int)
	stage <- request{fields, answer}
	<-answer
}

var result uint64

func compute(number int) {
	x := uint64(number) | 1
	for i := 0; i < 60_000; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	result += x
}

func main() {
	kind := flag.String("kind", "pass", "pass or compute")
	rate := flag.Float64("rate", 1000, "requests a second at the most")
	flag.Parse()
	stage := make(chan request)
	for i := 0; i < 4; i++ {
		go func() {
			for request := range stage {
				sum := 0
				for key, value := range request.fields {
					sum += len(key) + len(value)
				}
				request.answer <- sum
			}
		}()
	}
	started, random := time.Now(), rand.New(rand.NewSource(1))
	for number := 0; ; number++ {
		now := share(time.Since(started)) * *rate
		if now <= 0 {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		gap := random.ExpFloat64() / now
		if gap > 0.1 {
			gap = 0.1 // look at the share again
		}
		time.Sleep(time.Duration(gap * float64(time.Second)))
		if *kind == "compute" {
			go compute(number)
		} else {
			go pass(number, stage)
		}
	}
}
