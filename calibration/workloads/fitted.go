package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serveHTTP: a JSON service over TCP, and its clients in the same process.
func serveHTTP(rate float64) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		var in map[string]any
		if json.NewDecoder(r.Body).Decode(&in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		in["seen"] = true
		_ = json.NewEncoder(w).Encode(in)
	}
	go http.Serve(listener, http.HandlerFunc(handler))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64}}
	body, _ := json.Marshal(map[string]any{"id": 17, "name": "a name", "tags": []string{"a", "b", "c"}})
	jobs := make(chan struct{}, 1024)
	for i := 0; i < 64; i++ {
		go func() {
			for range jobs {
				answer, err := client.Post("http://"+listener.Addr().String(), "application/json", bytes.NewReader(body))
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(*rand.Rand) { jobs <- struct{}{} })
}

// fanOut: every request is split over eight goroutines, which are waited for.
func fanOut(rate float64) {
	arrive(rate, func(random *rand.Rand) {
		seed := random.Int63()
		go func() {
			var parts [8][sha256.Size]byte
			var all sync.WaitGroup
			for i := range parts {
				all.Add(1)
				go func() {
					defer all.Done()
					text := strings.Repeat(strconv.FormatInt(seed+int64(i), 36), 64)
					parts[i] = sha256.Sum256([]byte(text))
				}()
			}
			all.Wait()
			done.Add(1)
		}()
	})
}

// runTickers: a thousand goroutines with a timer each, and little work when it fires.
func runTickers(rate float64) {
	const count = 1000
	period := time.Duration(count / rate * float64(time.Second))
	for i := 0; i < count; i++ {
		go func() {
			time.Sleep(period * time.Duration(i) / count)
			var state [256]byte
			for range time.Tick(period) {
				sum := sha256.Sum256(state[:])
				copy(state[:], sum[:])
				done.Add(1)
			}
		}()
	}
}

type node struct {
	left, right *node
	value       [2]int
}

func grow(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{left: grow(depth - 1), right: grow(depth - 1)}
}

// replaceTrees: a live heap of small linked objects that is always being replaced.
func replaceTrees(rate float64) {
	const slots, depth = 512, 9
	var forest [slots]*node // 16 MB
	for i := range forest {
		forest[i] = grow(depth)
	}
	jobs := make(chan int, 256)
	for i := 0; i < 4; i++ {
		go func() {
			for slot := range jobs {
				forest[slot] = grow(depth)
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- random.Intn(slots) })
}

// digestBlocks: plain computing in a small pool, no allocation.
func digestBlocks(rate float64) {
	jobs := make(chan byte, 64)
	for i := 0; i < 6; i++ {
		go func() {
			var block [32 << 10]byte
			for first := range jobs {
				block[0] = first
				sum := sha256.Sum256(block[:])
				copy(block[1:], sum[:])
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- byte(random.Intn(256)) })
}

// saturate: four goroutines that never wait, half computing and half allocating.
func saturate(float64) {
	for i := 0; i < 4; i++ {
		go func() {
			for n := 0; ; n++ {
				words := strings.Fields(strings.Repeat("one two three ", 20+n%20))
				sort.Strings(words)
				sha256.Sum256([]byte(strings.Join(words, ",")))
				done.Add(1)
			}
		}()
	}
	select {}
}

// shareMutex: goroutines that all need one mutex for a part of each unit.
func shareMutex(rate float64) {
	var lock sync.Mutex
	counts := map[string]int{}
	jobs := make(chan int, 4096)
	for i := 0; i < 64; i++ {
		go func() {
			for job := range jobs {
				for n := 0; n < 10; n++ {
					key := strconv.Itoa((job + n*n) % 5000)
					lock.Lock()
					counts[key]++
					if len(counts) > 4000 {
						delete(counts, key)
					}
					lock.Unlock()
				}
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- random.Intn(1 << 20) })
}

// passStages: five goroutines in a row with unbuffered channels between them, twice.
func passStages(rate float64) {
	stage := func(in <-chan []byte, work func([]byte) []byte) <-chan []byte {
		out := make(chan []byte)
		go func() {
			for message := range in {
				out <- work(message)
			}
		}()
		return out
	}
	lines := make([]chan []byte, 2)
	for i := range lines {
		lines[i] = make(chan []byte)
		upper := stage(lines[i], bytes.ToUpper)
		parted := stage(upper, func(m []byte) []byte { return bytes.Join(bytes.Fields(m), []byte{','}) })
		numbered := stage(parted, func(m []byte) []byte { return append(strconv.AppendInt(nil, int64(len(m)), 10), m...) })
		quoted := stage(numbered, func(m []byte) []byte { return strconv.AppendQuote(nil, string(m)) })
		go func() {
			for range quoted {
				done.Add(1)
			}
		}()
	}
	message := []byte(strings.Repeat("a message of some words ", 8))
	next := 0
	arrive(rate, func(*rand.Rand) {
		lines[next%len(lines)] <- message
		next++
	})
}

// lookUp: random reads in a large map, which misses the caches.
func lookUp(rate float64) {
	const keys = 1 << 20
	table := make(map[uint64]uint64, keys)
	for i := uint64(0); i < keys; i++ {
		table[i*0x9E3779B97F4A7C15] = i
	}
	jobs := make(chan uint64, 256)
	for i := 0; i < 8; i++ {
		go func() {
			var sum uint64
			for job := range jobs {
				for n := uint64(0); n < 200; n++ {
					sum += table[((job+n*7919)%keys)*0x9E3779B97F4A7C15]
				}
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- random.Uint64() % keys })
}

// formatBursts: idle for 50 ms, then a goroutine for each of many records at once.
func formatBursts(rate float64) {
	const gap = 50 * time.Millisecond
	random := rand.New(rand.NewSource(1))
	owed := 0.0
	for range time.Tick(gap) {
		for owed += rate * gap.Seconds(); owed >= 1; owed-- {
			number := random.Int63()
			go func() {
				var out strings.Builder
				for n := int64(0); n < 20; n++ {
					fmt.Fprintf(&out, "%s=%d %x %.3f;", "key", number+n, number-n, float64(number)/3)
				}
				parts := strings.Split(out.String(), ";")
				sort.Strings(parts)
				done.Add(1)
			}()
		}
	}
}

// echoDatagrams: many small system calls and the network poller.
func echoDatagrams(rate float64) {
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	for i := 0; i < 4; i++ {
		go func() {
			buffer := make([]byte, 2048)
			for {
				n, from, err := server.ReadFromUDPAddrPort(buffer)
				if err == nil {
					_, _ = server.WriteToUDPAddrPort(buffer[:n], from)
				}
			}
		}()
	}
	jobs := make(chan int, 1024)
	for i := 0; i < 32; i++ {
		go func() {
			connection, err := net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
			if err != nil {
				panic(err)
			}
			buffer := make([]byte, 2048)
			for size := range jobs {
				_, _ = connection.Write(buffer[:size])
				_ = connection.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := connection.Read(buffer); err == nil {
					done.Add(1)
				}
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- 64 + random.Intn(1024) })
}

// pingPong: pairs that answer each other as fast as they can, with a little work each time.
func pingPong(float64) {
	for i := 0; i < 2; i++ {
		there, back := make(chan []byte), make(chan []byte)
		go func() {
			for message := range there {
				sum := sha256.Sum256(message)
				back <- sum[:]
			}
		}()
		go func() {
			message := make([]byte, 4096)
			for {
				there <- message
				copy(message, <-back)
				done.Add(1)
			}
		}()
	}
	select {}
}
