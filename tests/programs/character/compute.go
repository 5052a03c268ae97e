package main

import (
	"crypto/sha256"
	"math/rand"
	"sort"
)

// computing multiplies matrices, sorts and hashes, in memory that it has from the start.
func computing() func(int) {
	const size = 96
	random := rand.New(rand.NewSource(1))
	var a, b, c [size][size]float64
	for i := range a {
		for j := range a[i] {
			a[i][j], b[i][j] = random.Float64(), random.Float64()
		}
	}
	numbers, data := make([]float64, 4096), make([]byte, 1<<16)
	return func(n int) {
		for i := range c {
			for j := range c[i] {
				sum := 0.0
				for k := range b {
					sum += a[i][k] * b[k][j]
				}
				c[i][j] = sum
			}
		}
		for i := range numbers {
			numbers[i] = c[(i+n)%size][i*7%size] * random.Float64()
		}
		sort.Float64s(numbers)
		digest := sha256.Sum256(data)
		copy(data[n%1024:], digest[:])
	}
}
