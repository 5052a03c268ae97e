package main

import (
	"context"
	"time"
)

// waiting has hundreds of goroutines that sleep, tick and time out. Between their wake-ups the
// program has nothing to do; one piece of its work is to start a wave of them and await it.
func waiting() func(int) {
	const sleepers = 500
	for i := 0; i < sleepers; i++ {
		go func(every time.Duration) {
			for range time.Tick(every) {
			}
		}(time.Duration(20+i) * time.Millisecond)
	}
	return func(n int) {
		done := make(chan struct{}, 3*sleepers)
		for i := 0; i < sleepers; i++ {
			pause := time.Duration(1+(n+i)%20) * time.Millisecond / 2
			time.AfterFunc(pause, func() { done <- struct{}{} })
			go func() {
				time.Sleep(pause)
				done <- struct{}{}
			}()
			go func() {
				within, cancel := context.WithTimeout(context.Background(), pause)
				defer cancel()
				<-within.Done()
				done <- struct{}{}
			}()
		}
		for i := 0; i < cap(done); i++ {
			<-done
		}
	}
}
