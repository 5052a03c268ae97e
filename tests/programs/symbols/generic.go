//go:build go1.18
// +build go1.18

package main

type number interface{ ~int | ~float64 }

//go:noinline
func sum[T number](values ...T) (total T) {
	for _, v := range values {
		total += v
	}
	return total
}

type list[T any] struct{ items []T }

//go:noinline
func (l *list[T]) push(item T) { l.items = append(l.items, item) }

func generic() int {
	l := &list[string]{}
	l.push("a")
	return sum(1, 2) + int(sum(1.5, 2.0)) + len(l.items)
}
