package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// relay: bytes through a TCP proxy, between a client and a server in the same process.
func relay(rate float64) {
	listen := func(serve func(net.Conn)) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				go serve(connection)
			}
		}()
		return listener.Addr().String()
	}
	dial := func(address string) net.Conn {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			panic(err)
		}
		return connection
	}
	behind := listen(func(c net.Conn) { _, _ = io.Copy(c, c) })
	front := listen(func(c net.Conn) {
		far := dial(behind)
		go func() { _, _ = io.Copy(far, c) }()
		_, _ = io.Copy(c, far)
	})
	jobs := make(chan int, 256)
	for i := 0; i < 12; i++ {
		go func() {
			connection, buffer := dial(front), make([]byte, 16<<10)
			for size := range jobs {
				_, _ = connection.Write(buffer[:size])
				if _, err := io.ReadFull(connection, buffer[:size]); err == nil {
					done.Add(1)
				}
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- 1 + random.Intn(16<<10) })
}

// scanTables: CSV into JSON, a goroutine for each table.
func scanTables(rate float64) {
	var text strings.Builder
	for i := 0; i < 60; i++ {
		text.WriteString(strconv.Itoa(i) + `,name,"quoted, text",` + strconv.Itoa(i*i) + "\n")
	}
	arrive(rate, func(*rand.Rand) {
		go func() {
			rows, err := csv.NewReader(strings.NewReader(text.String())).ReadAll()
			if err == nil && json.NewEncoder(io.Discard).Encode(rows) == nil {
				done.Add(1)
			}
		}()
	})
}

// waitOnCondition: a bounded queue with a condition variable, three producers and five consumers.
func waitOnCondition(rate float64) {
	var lock sync.Mutex
	filled := sync.NewCond(&lock)
	var queue [][]int
	for i := 0; i < 5; i++ {
		go func() {
			for {
				lock.Lock()
				for len(queue) == 0 {
					filled.Wait()
				}
				item := queue[0]
				queue = queue[1:]
				lock.Unlock()
				sum := 0
				for round := 0; round < 20; round++ {
					for _, value := range item {
						sum = sum*31 + value
					}
				}
				item[0] = sum
				done.Add(1)
			}
		}()
	}
	for i := 0; i < 3; i++ {
		go arrive(rate/3, func(random *rand.Rand) {
			item := make([]int, 200)
			item[1] = random.Int()
			lock.Lock()
			queue = append(queue, item)
			lock.Unlock()
			filled.Signal()
		})
	}
}

// blurImages: large objects that live for a moment, and loops over them.
func blurImages(rate float64) {
	const width, height = 320, 240
	jobs := make(chan uint8, 16)
	for i := 0; i < 3; i++ {
		go func() {
			for seed := range jobs {
				image, blurred := make([]uint8, width*height), make([]uint8, width*height)
				for i := range image {
					image[i] = seed + uint8(i*i)
				}
				for y := 1; y < height-1; y++ {
					for x := 1; x < width-1; x++ {
						i := y*width + x
						sum := int(image[i-1]) + int(image[i+1]) + int(image[i-width]) + int(image[i+width])
						blurred[i] = uint8(sum / 4)
					}
				}
				done.Add(1)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- uint8(random.Intn(256)) })
}

// poll: goroutines that look every few milliseconds whether there is something to do.
func poll(rate float64) {
	const count = 60
	period := time.Duration(count / rate * float64(time.Second))
	for i := 0; i < count; i++ {
		go func() {
			words := map[string]int{}
			for n := 0; ; n++ {
				time.Sleep(period)
				for _, word := range strings.Fields("to be or not to be that is the question") {
					words[word] += n
				}
				done.Add(1)
			}
		}()
	}
}

type event struct {
	topic string
	value float64
}

// multiplex: one loop that selects over what four producers send, and answers them.
func multiplex(rate float64) {
	var sources, answers [4]chan event
	for i := range sources {
		sources[i], answers[i] = make(chan event), make(chan event, 1)
		go arrive(rate/4, func(random *rand.Rand) {
			sources[i] <- event{"topic" + strconv.Itoa(random.Intn(50)), random.Float64()}
			<-answers[i]
		})
	}
	state := map[string]*event{}
	handle := func(e event) event {
		next := &event{e.topic, e.value}
		if last := state[e.topic]; last != nil {
			next.value += last.value / 2
		}
		state[e.topic] = next
		done.Add(1)
		return *next
	}
	for {
		select {
		case e := <-sources[0]:
			answers[0] <- handle(e)
		case e := <-sources[1]:
			answers[1] <- handle(e)
		case e := <-sources[2]:
			answers[2] <- handle(e)
		case e := <-sources[3]:
			answers[3] <- handle(e)
		}
	}
}

// keepSessions: a sync.Map of sessions with pointers, read often and replaced sometimes.
func keepSessions(rate float64) {
	const count = 100_000
	type session struct {
		user  string
		roles []string
		last  *event
	}
	open := func(n int) *session {
		return &session{"user" + strconv.Itoa(n), []string{"a", "b"}, &event{topic: "opened"}}
	}
	var sessions sync.Map
	for n := 0; n < count; n++ {
		sessions.Store(n, open(n))
	}
	for i := 0; i < 4; i++ {
		go arrive(rate/4, func(random *rand.Rand) {
			seed := random.Intn(count)
			go func() {
				for n := 0; n < 20; n++ {
					found, _ := sessions.Load((seed + n*n*n) % count)
					if n%5 == 0 && found != nil {
						sessions.Store((seed+n)%count, open(n))
					}
				}
				done.Add(1)
			}()
		})
	}
}

// keepJournal: log lines into a pipe, which a goroutine empties.
func keepJournal(rate float64) {
	out, in, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			done.Add(1)
		}
	}()
	journal := log.New(in, "", log.LstdFlags|log.Lmicroseconds)
	failure := errors.New("no such thing")
	for i := 0; i < 8; i++ {
		go arrive(rate/8, func(random *rand.Rand) {
			journal.Printf("level=%s id=%d err=%v", "warn", random.Intn(1e6), failure)
		})
	}
}
