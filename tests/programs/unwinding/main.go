// Command unwinding does in turns what makes stacks hard to walk: leaves without a frame, the vDSO,
// switches to the thread's own stack, signals, preemption, recursion, and with cgo C code.
//
// Without arguments all of it, else what is named.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const turn = 20 * time.Millisecond

var ways = map[string]func(until time.Time){
	"clock":    readClock,
	"copying":  copyAll,
	"channels": playPing,
	"growth":   growAll,
	"garbage":  makeGarbage,
	"signals":  signalSelf,
	"preempt":  spinAll,
	"deep":     func(until time.Time) { goDeep(until, 300) },
	"syscalls": readZero,
}

//go:noinline
func readClock(until time.Time) {
	for time.Now().Before(until) {
	}
}

var blocks [2][1 << 12]byte

//go:noinline
func copyBlocks() {
	copy(blocks[0][:], blocks[1][:])
}

//go:noinline
func copyAll(until time.Time) {
	for n := 0; n&0xff != 0 || time.Now().Before(until); n++ {
		copyBlocks()
	}
}

//go:noinline
func playPing(until time.Time) {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for n := range ping {
			pong <- n
		}
		close(pong)
	}()
	for n := 0; n&0xf != 0 || time.Now().Before(until); n++ {
		ping <- n
		<-pong
	}
	close(ping)
}

//go:noinline
func grow(depth int) int {
	var room [512]byte
	room[depth] = byte(depth)
	if depth == 0 {
		return int(room[0])
	}
	return grow(depth-1) + int(room[depth])
}

//go:noinline
func growAll(until time.Time) {
	for time.Now().Before(until) {
		done := make(chan int)
		go func() { done <- grow(60) }()
		<-done
	}
}

type node struct{ next *node }

var kept [64]*node

//go:noinline
func makeGarbage(until time.Time) {
	for n := 0; time.Now().Before(until); n++ {
		var list *node
		for i := 0; i < 1000; i++ {
			list = &node{list}
		}
		kept[n%len(kept)] = list
		if n%200 == 0 {
			runtime.GC()
		}
	}
}

var usr1 = make(chan os.Signal, 1)

//go:noinline
func signalSelf(until time.Time) {
	signal.Notify(usr1, syscall.SIGUSR1)
	defer signal.Stop(usr1)
	for time.Now().Before(until) {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-usr1
	}
}

//go:noinline
func spin(stop *atomic.Bool) int {
	n := 0
	for !stop.Load() {
		n++
	}
	return n
}

//go:noinline
func spinAll(until time.Time) {
	var stop atomic.Bool
	var done sync.WaitGroup
	for i := 0; i < 2*runtime.GOMAXPROCS(0); i++ {
		done.Add(1)
		go func() {
			spin(&stop)
			done.Done()
		}()
	}
	time.Sleep(time.Until(until))
	stop.Store(true)
	done.Wait()
}

var deepest int

//go:noinline
func goDeep(until time.Time, depth int) {
	if depth > 0 {
		goDeep(until, depth-1)
		deepest++
		return
	}
	for n := 0; n&0xfff != 0 || time.Now().Before(until); n++ {
		deepest++
	}
}

//go:noinline
func readZero(until time.Time) {
	file, err := os.Open("/dev/zero")
	if err != nil {
		panic(err)
	}
	defer file.Close()
	buffer := make([]byte, 1<<12)
	for n := 0; n&0xf != 0 || time.Now().Before(until); n++ {
		file.Read(buffer)
	}
}

func main() {
	chosen := os.Args[1:]
	if len(chosen) == 0 {
		for name := range ways {
			chosen = append(chosen, name)
		}
	}
	for {
		for _, name := range chosen {
			way, known := ways[name]
			if !known {
				fmt.Fprintln(os.Stderr, "unwinding: no such way:", name)
				os.Exit(2)
			}
			way(time.Now().Add(turn))
		}
		time.Sleep(turn)
	}
}
