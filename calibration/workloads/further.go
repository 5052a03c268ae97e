package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"net"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type vertex struct {
	name  string
	edges []*vertex
	seen  int
}

// walkGraph: searches in a large graph of pointers, parts of which are always being replaced.
func walkGraph(rate float64) {
	const count, degree = 150_000, 4
	random := rand.New(rand.NewSource(2))
	graph := make([]*vertex, count)
	for i := range graph {
		graph[i] = &vertex{name: strconv.Itoa(i)}
	}
	for _, v := range graph {
		for i := 0; i < degree; i++ {
			v.edges = append(v.edges, graph[random.Intn(count)])
		}
	}
	var lock sync.Mutex
	round := 0
	arrive(rate, func(random *rand.Rand) {
		start := random.Intn(count)
		go func() {
			lock.Lock()
			defer lock.Unlock()
			round++
			queue := []*vertex{graph[start]}
			for len(queue) > 0 && len(queue) < 200 {
				v := queue[0]
				queue = queue[1:]
				for _, next := range v.edges {
					if next.seen != round {
						next.seen = round
						queue = append(queue, next)
					}
				}
			}
			fresh := &vertex{name: fmt.Sprint("fresh ", start), edges: append([]*vertex(nil), graph[start].edges...)}
			graph[start] = fresh
			done.Add(1)
		}()
	})
}

// indexWords: an inverted index of documents; words are looked up by a few workers as it grows.
func indexWords(rate float64) {
	type posting struct{ document, position int }
	words := make([]string, 5000)
	for i := range words {
		words[i] = "word" + strconv.Itoa(i*7919)
	}
	queries := make(chan []string, 64)
	for i := 0; i < 4; i++ {
		go func() {
			index := map[string][]posting{}
			document := 0
			for query := range queries {
				document++
				for position, word := range query {
					found := append(index[word], posting{document, position})
					if len(found) > 200 {
						found = append([]posting(nil), found[150:]...)
					}
					index[word] = found
				}
				samples := append([]posting(nil), index[query[0]]...)
				sort.Slice(samples, func(i, j int) bool { return samples[i].position < samples[j].position })
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) {
		query := make([]string, 12)
		for i := range query {
			query[i] = words[random.Intn(len(words))]
		}
		queries <- query
	})
}

// storeValues: a key-value store with a text protocol over TCP, and its many clients.
func storeValues(rate float64) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	var lock sync.Mutex
	values := map[string]string{}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				in, out := bufio.NewReader(connection), bufio.NewWriter(connection)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					fields := strings.Fields(line)
					lock.Lock()
					if len(fields) == 3 {
						values[fields[1]] = fields[2]
					}
					answer := values[fields[1]]
					lock.Unlock()
					out.WriteString(answer + "\n")
					out.Flush()
				}
			}()
		}
	}()
	const clients = 24
	for i := 0; i < clients; i++ {
		connection, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			panic(err)
		}
		in := bufio.NewReader(connection)
		go arrive(rate/clients, func(random *rand.Rand) {
			key := strconv.Itoa(random.Intn(10_000))
			request := "get " + key + "\n"
			if random.Intn(4) == 0 {
				request = "set " + key + " value" + key + "\n"
			}
			io.WriteString(connection, request)
			in.ReadString('\n')
			done.Add(1)
		})
	}
}

// countEvents: counters in shards with a lock each, and atomic ones that all share.
func countEvents(rate float64) {
	var shards [8]struct {
		sync.Mutex
		counts map[int]int
	}
	for i := range shards {
		shards[i].counts = map[int]int{}
	}
	var total atomic.Int64
	events := make(chan int, 256)
	for i := 0; i < 6; i++ {
		go func() {
			for event := range events {
				for n := 0; n < 30; n++ {
					shard := &shards[(event+n)%len(shards)]
					shard.Lock()
					shard.counts[(event*n)%500]++
					shard.Unlock()
					total.Add(1)
				}
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { events <- random.Intn(1 << 20) })
}

// copyFiles: small files are written, read back and removed.
func copyFiles(rate float64) {
	folder, err := os.MkdirTemp("/dev/shm", "workload")
	if err != nil {
		panic(err)
	}
	go func() { // killed without warning: leave nothing behind for long
		time.Sleep(20 * time.Second)
		os.RemoveAll(folder)
	}()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	for i := 0; i < 5; i++ {
		path := folder + "/" + strconv.Itoa(i)
		go arrive(rate/5, func(*rand.Rand) {
			if os.WriteFile(path, content, 0o600) == nil {
				if read, err := os.ReadFile(path); err == nil && crc32.ChecksumIEEE(read) != 0 {
					os.Remove(path)
				}
			}
			done.Add(1)
		})
	}
}

// workInPool: jobs of about 100 microseconds for eight workers, with pooled buffers.
func workInPool(rate float64) {
	buffers := sync.Pool{New: func() any { return new(bytes.Buffer) }}
	jobs := make(chan int, 128)
	for i := 0; i < 8; i++ {
		go func() {
			for job := range jobs {
				buffer := buffers.Get().(*bytes.Buffer)
				buffer.Reset()
				for n := 0; n < 400; n++ {
					buffer.Write(strconv.AppendInt(buffer.AvailableBuffer(), int64(job*n), 10))
				}
				crc32.ChecksumIEEE(buffer.Bytes())
				buffers.Put(buffer)
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- random.Intn(1e6) })
}

// reduceBatches: every 20 ms a batch is split over sixteen goroutines that compute.
func reduceBatches(rate float64) {
	numbers := make([]float64, 64<<10)
	for i := range numbers {
		numbers[i] = float64(i)
	}
	due := 0.0
	for range time.Tick(20 * time.Millisecond) {
		due += rate / 50
		for ; due >= 1; due-- {
			var group sync.WaitGroup
			sums := make([]float64, 16)
			part := len(numbers) / len(sums)
			for i := range sums {
				group.Add(1)
				go func(i int) {
					defer group.Done()
					for _, value := range numbers[i*part : (i+1)*part] {
						sums[i] += value * value
					}
				}(i)
			}
			group.Wait()
			done.Add(1)
		}
	}
}

// matchLines: regular expressions over lines, a goroutine for each.
func matchLines(rate float64) {
	pattern := regexp.MustCompile(`^(\S+) (\d+) "([A-Z]+) ([^"]*)"$`)
	arrive(rate, func(random *rand.Rand) {
		line := fmt.Sprintf(`host%d %d "GET /path/%d/of/a/page"`, random.Intn(99), random.Intn(1e6), random.Intn(1e6))
		go func() {
			if len(pattern.FindStringSubmatch(line)) == 5 {
				done.Add(1)
			}
		}()
	})
}

// signMessages: elliptic curves, a few workers that take from a channel without a buffer.
func signMessages(rate float64) {
	_, key, err := ed25519.GenerateKey(rand.New(rand.NewSource(3)))
	if err != nil {
		panic(err)
	}
	messages := make(chan []byte)
	for i := 0; i < 3; i++ {
		go func() {
			for message := range messages {
				if len(ed25519.Sign(key, message)) > 0 {
					done.Add(1)
				}
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { messages <- []byte(strconv.Itoa(random.Int())) })
}

// countPrimes: five goroutines that compute without end and touch no memory.
func countPrimes(float64) {
	for i := 0; i < 5; i++ {
		go func() {
			for n := 3; ; n += 2 {
				if n > 1<<20 {
					n = 3
				}
				for factor := 3; factor*factor <= n && n%factor != 0; factor += 2 {
				}
				if n%1001 == 0 {
					done.Add(1)
				}
			}
		}()
	}
}

// runChores: forty periodic chores of a fraction of a millisecond each.
func runChores(rate float64) {
	const chores = 40
	for i := 0; i < chores; i++ {
		go func() {
			text := []byte(strings.Repeat("the quick brown fox ", 60))
			tick := time.NewTicker(time.Duration(chores / rate * float64(time.Second)))
			for range tick.C {
				counts := map[byte]int{}
				for _, letter := range text {
					counts[letter]++
				}
				done.Add(1)
			}
		}()
	}
}

// keepDeadlines: requests with a context and a timeout, answered by a goroutine of their own.
func keepDeadlines(rate float64) {
	for i := 0; i < 3; i++ {
		go arrive(rate/3, func(random *rand.Rand) {
			seed := random.Intn(1 << 20)
			go func() {
				limited, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
				defer cancel()
				answer := make(chan string, 1)
				go func() { answer <- strings.ToUpper(strconv.Itoa(seed)) }()
				select {
				case <-answer:
				case <-limited.Done():
				}
				done.Add(1)
			}()
		})
	}
}
