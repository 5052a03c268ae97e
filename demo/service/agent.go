package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
)

// window is how many spans the agent holds until they would be sent on. With
// the orders in them they are the live heap, about 1 MB.
const window = 192

// span is what the agent keeps of one request.
type span struct {
	Method, Path, Host, Client, Trace string
	Order                             order
}

type order struct {
	ID       string            `json:"id"`
	Customer string            `json:"customer"`
	Items    []item            `json:"items"`
	Labels   map[string]string `json:"labels"`
}

type item struct {
	SKU      string   `json:"sku"`
	Quantity int      `json:"quantity"`
	Price    float64  `json:"price"`
	Tags     []string `json:"tags"`
}

// agent turns events into spans and holds the latest of them.
type agent struct {
	requests  atomic.Int64 // parsed
	malformed atomic.Int64

	spans chan *span
}

func newAgent() *agent {
	return &agent{spans: make(chan *span)}
}

// work is one goroutine of the pool.
func (a *agent) work(events <-chan []byte) {
	for event := range events {
		parsed, err := parseSpan(event)
		if err != nil {
			a.malformed.Add(1)
			continue
		}
		a.spans <- parsed
	}
}

// collect holds the latest spans, as a pipeline's batching stage does.
func (a *agent) collect() {
	var latest [window]*span // a ring; nil where nothing has been written yet
	for next := 0; ; next = (next + 1) % window {
		latest[next] = <-a.spans
		a.requests.Add(1)
	}
}

// parseSpan reads one HTTP request with a JSON body.
func parseSpan(event []byte) (*span, error) {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(event)))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	parsed := &span{
		Method: request.Method,
		Path:   request.URL.Path,
		Host:   request.Host,
		Client: request.UserAgent(),
		Trace:  request.Header.Get("Traceparent"),
	}
	if err := json.Unmarshal(body, &parsed.Order); err != nil {
		return nil, err
	}
	return parsed, nil
}
