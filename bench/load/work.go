package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"regexp"
	"sort"
	"strings"
	"sync"
	"text/template"
	"time"
)

// kinds of work; each constructor returns one unit, some 50 to 500 microseconds of CPU.
var kinds = map[string]func() func(){
	"json":     parseJSON,
	"text":     matchAndRender,
	"allocate": growTrees,
	"channels": passAround,
	"storage":  packAndWrite,
	"locks":    contend,
}

type order struct {
	ID       int               `json:"id"`
	Customer string            `json:"customer"`
	Tags     []string          `json:"tags"`
	Items    []item            `json:"items"`
	Labels   map[string]string `json:"labels"`
}

type item struct {
	SKU      string  `json:"sku"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

func someOrder(random *rand.Rand) order {
	made := order{ID: random.Int(), Customer: words(random, 3), Labels: map[string]string{}}
	for i := 0; i < 8; i++ {
		made.Tags = append(made.Tags, words(random, 1))
		made.Labels[words(random, 1)] = words(random, 2)
		made.Items = append(made.Items, item{words(random, 1), random.Intn(9), random.Float64()})
	}
	return made
}

var vocabulary = strings.Fields("limit quota period share weight thread queue timer stack heap" +
	" frame sample window drain bank worker sweep assist park wake steal spin yield")

func words(random *rand.Rand, count int) string {
	chosen := make([]string, count)
	for i := range chosen {
		chosen[i] = vocabulary[random.Intn(len(vocabulary))]
	}
	return strings.Join(chosen, " ")
}

func parseJSON() func() {
	random := rand.New(rand.NewSource(1))
	return func() {
		text, err := json.Marshal(someOrder(random))
		if err != nil {
			panic(err)
		}
		var known order
		var unknown map[string]any
		if json.Unmarshal(text, &known) != nil || json.Unmarshal(text, &unknown) != nil {
			panic("what was written cannot be read")
		}
		sort.Slice(known.Items, func(i, j int) bool { return known.Items[i].SKU < known.Items[j].SKU })
	}
}

func matchAndRender() func() {
	random := rand.New(rand.NewSource(2))
	pattern := regexp.MustCompile(`(\w+)\s+(sh\w+|st[aeiou]\w*)\s(\w+)`)
	page := template.Must(template.New("page").Parse(
		`{{range .Items}}<li>{{.SKU}}: {{printf "%.2f" .Price}}{{end}} {{.Customer}}`))
	return func() {
		text := words(random, 60)
		_ = pattern.ReplaceAllString(text, "$3 $1")
		_ = strings.ToUpper(fmt.Sprintf("%q %v", text, pattern.FindAllStringIndex(text, -1)))
		if err := page.Execute(io.Discard, someOrder(random)); err != nil {
			panic(err)
		}
	}
}

type node struct {
	left, right *node
	payload     []byte
}

func grow(depth int) *node {
	if depth == 0 {
		return &node{payload: make([]byte, 48)}
	}
	return &node{left: grow(depth - 1), right: grow(depth - 1)}
}

func growTrees() func() {
	kept := make([]*node, 64)
	next := 0
	return func() {
		kept[next%len(kept)] = grow(9)
		next++
	}
}

func passAround() func() {
	sums := make([]int, 64)
	var lock sync.Mutex
	next := 0
	return spread(64, func() {
		lock.Lock()
		next++
		slot := next % len(sums)
		lock.Unlock()
		for i := 0; i < 500; i++ {
			sums[slot] = sums[slot]*31 + i
		}
		timer := time.NewTimer(time.Minute)
		select {
		case <-timer.C:
		default:
		}
		timer.Stop()
	})
}

func packAndWrite() func() {
	random := rand.New(rand.NewSource(3))
	reader, writer, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	go func() {
		if _, err := io.Copy(io.Discard, reader); err != nil {
			panic(err)
		}
	}()
	var packed bytes.Buffer
	packer := gzip.NewWriter(&packed)
	return func() {
		text := []byte(words(random, 400))
		sum := sha256.Sum256(text)
		packed.Reset()
		packer.Reset(&packed)
		if _, err := packer.Write(append(text, sum[:]...)); err != nil {
			panic(err)
		}
		if err := packer.Close(); err != nil {
			panic(err)
		}
		for i := 0; i < 16; i++ {
			if _, err := writer.Write(packed.Bytes()); err != nil {
				panic(err)
			}
		}
	}
}

func contend() func() {
	var lock sync.RWMutex
	table := map[string]int{}
	return spread(16, func() {
		for i := 0; i < 20; i++ {
			key := vocabulary[i%len(vocabulary)]
			lock.RLock()
			value := table[key]
			lock.RUnlock()
			lock.Lock()
			table[key] = value + 1
			lock.Unlock()
		}
	})
}
