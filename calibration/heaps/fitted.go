package main

import (
	"math/rand"
	"strconv"
)

type tree struct {
	left, right *tree
	value       int
}

func grow(depth int) *tree {
	if depth == 0 {
		return nil
	}
	return &tree{grow(depth - 1), grow(depth - 1), depth}
}

// keepTrees: many binary trees, and one of them is replaced by a new one in each unit.
func keepTrees(mib int) func(*rand.Rand) {
	const depth = 10 // 1023 nodes of 24 bytes
	kept := make([]*tree, mib<<20/(1023*24))
	for i := range kept {
		kept[i] = grow(depth)
	}
	return func(random *rand.Rand) {
		kept[random.Intn(len(kept))] = grow(depth)
		done.Add(1)
	}
}

// keepBlocks: slices of bytes without pointers, up to 256 KiB; a unit copies one into a new one.
func keepBlocks(mib int) func(*rand.Rand) {
	kept := make([][]byte, mib<<20/(128<<10))
	for i := range kept {
		kept[i] = make([]byte, 1<<10+rand.New(rand.NewSource(int64(i))).Intn(256<<10))
	}
	return func(random *rand.Rand) {
		at := random.Intn(len(kept))
		kept[at] = append([]byte(nil), kept[at]...)
		done.Add(1)
	}
}

type entry struct {
	name   string
	counts [6]int
	next   *entry
}

// churnMap: one large map; each unit deletes some keys and adds others.
func churnMap(mib int) func(*rand.Rand) {
	size := mib << 20 / 200
	kept := make(map[string]*entry, size)
	first, last := 0, 0
	add := func() {
		name := strconv.Itoa(last)
		kept[name] = &entry{name: name}
		last++
	}
	for last < size {
		add()
	}
	return func(random *rand.Rand) {
		for range 8 {
			delete(kept, strconv.Itoa(first))
			first++
			add()
		}
		done.Add(1)
	}
}
