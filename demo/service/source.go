package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"sync/atomic"
	"time"
)

const (
	// variants is how many different requests there are; parsing the same one
	// again and again would be kinder to the branch predictor than traffic is.
	variants = 64

	// orderItems sets the size of a body, 1.3 KB, and with it the CPU time of one
	// event, its share of scheduling and collecting included: about 70 µs, which
	// GOMAXPROCS=1 makes 40 to 55 and GOMAXPROCS=192 makes 85 to 110.
	orderItems = 18

	// backlog is how far the source may fall behind before it drops events, as
	// the kernel's ring buffer does when its reader is too slow.
	backlog = time.Second
)

// source stands for the kernel's side of a node agent: requests as an eBPF
// probe would have captured them, arriving at random (exponential gaps) at a
// given mean rate.
type source struct {
	rate     float64 // events a second
	requests [][]byte
	random   *rand.Rand
	dropped  atomic.Int64
}

// newSource makes the same requests and the same arrivals in every run, so that
// two runs differ in nothing but their settings.
func newSource(rate float64) *source {
	random := rand.New(rand.NewSource(1))
	requests := make([][]byte, variants)
	for i := range requests {
		requests[i] = captured(random)
	}
	return &source{rate: rate, requests: requests, random: random}
}

// deliver sends events until the program ends. Events that came due while it
// slept follow each other at once: Go's timers are about a millisecond apart on
// an idle process, so a delivery is a handful of events, as one wake-up of a
// ring buffer's reader is.
func (s *source) deliver(events chan<- []byte) {
	due := time.Now()
	for {
		due = due.Add(time.Duration(s.random.ExpFloat64() / s.rate * float64(time.Second)))
		switch wait := time.Until(due); {
		case wait > 0:
			time.Sleep(wait)
		case wait < -backlog:
			s.dropped.Add(1)
			continue
		}
		events <- s.requests[s.random.Intn(variants)]
	}
}

// captured returns one request as it is on the wire.
func captured(random *rand.Rand) []byte {
	body := order{
		ID:       fmt.Sprintf("o-%08d", random.Intn(1e8)),
		Customer: fmt.Sprintf("c-%05d", random.Intn(1e5)),
		Labels:   map[string]string{"region": "eu-west-1", "channel": "web"},
	}
	for i := 0; i < orderItems; i++ {
		body.Items = append(body.Items, item{
			SKU:      fmt.Sprintf("sku-%05d", random.Intn(1e5)),
			Quantity: 1 + random.Intn(9),
			Price:    float64(random.Intn(100_000)) / 100,
			Tags:     []string{"new", "sale"},
		})
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		panic(err) // an order has nothing that JSON cannot say
	}
	var wire bytes.Buffer
	fmt.Fprintf(&wire, "POST /api/v1/carts/%d/orders HTTP/1.1\r\n", random.Intn(40))
	wire.WriteString("Host: checkout.shop.svc.cluster.local\r\n")
	wire.WriteString("User-Agent: storefront/2.1\r\n")
	wire.WriteString("Accept: application/json\r\n")
	wire.WriteString("Content-Type: application/json\r\n")
	fmt.Fprintf(&wire, "Traceparent: 00-%016x%016x-%016x-01\r\n",
		random.Uint64(), random.Uint64(), random.Uint64())
	fmt.Fprintf(&wire, "Content-Length: %d\r\n\r\n", len(encoded))
	wire.Write(encoded)
	return wire.Bytes()
}
