package main

import "sync"

// communicating sends numbers through a chain of goroutines: unbuffered and buffered channels,
// select, and locks.
func communicating() func(int) {
	const stages, messages = 4, 1500
	var mutex sync.RWMutex
	seen := make(map[int]int)
	first := make(chan int)
	quit := make(chan struct{})
	in := first
	for stage := 0; stage < stages; stage++ {
		out := make(chan int, 8*(stage%2))
		go func(in <-chan int, out chan<- int) {
			for {
				select {
				case number := <-in:
					mutex.Lock()
					seen[number%64]++
					mutex.Unlock()
					out <- number + 1
				case <-quit:
					return
				}
			}
		}(in, out)
		in = out
	}
	last := in
	return func(n int) {
		var done sync.WaitGroup
		done.Add(1)
		go func() {
			for i := 0; i < messages; i++ {
				<-last
			}
			done.Done()
		}()
		for i := 0; i < messages; i++ {
			first <- n + i
		}
		done.Wait()
	}
}
