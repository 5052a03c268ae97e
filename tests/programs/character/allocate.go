package main

import (
	"math/rand"
	"runtime"
	"strconv"
)

// node is part of a tree with pointers for the collector to follow.
type node struct {
	left, right *node
	name        string
	payload     []byte
}

func tree(depth int, random *rand.Rand) *node {
	if depth == 0 {
		return nil
	}
	return &node{
		left:    tree(depth-1, random),
		right:   tree(depth-1, random),
		name:    "node " + strconv.Itoa(random.Intn(1000)),
		payload: make([]byte, 16<<random.Intn(5)),
	}
}

// allocating makes trees, maps and growing slices, and holds some 30 MB alive.
func allocating() func(int) {
	random := rand.New(rand.NewSource(1))
	alive := make([]*node, 64)
	index := make(map[string]*node)
	return func(n int) {
		root := tree(11, random)
		runtime.SetFinalizer(root, func(*node) {})
		alive[random.Intn(len(alive))] = root
		var grown []*node
		for at := root; at != nil; at = at.left {
			for i := 0; i < 100; i++ {
				grown = append(grown, at)
			}
			index[at.name] = grown[len(grown)/2]
		}
	}
}
