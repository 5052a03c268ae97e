package main

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"io"
	"math/rand"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

type line struct {
	SKU   string  `json:"sku"`
	Count int     `json:"count"`
	Price float64 `json:"price"`
}

type order struct {
	ID    int               `json:"id"`
	Name  string            `json:"name"`
	Lines []line            `json:"lines"`
	Tags  map[string]string `json:"tags"`
}

func newOrder(id int) *order {
	made := &order{ID: id, Name: "customer " + strconv.Itoa(id), Tags: map[string]string{"state": "open"}}
	for n := range 8 {
		made.Lines = append(made.Lines, line{"article " + strconv.Itoa(id+n), n, float64(id)})
	}
	return made
}

// serveOrders: a JSON service over TCP that replaces an order of its store with each request, and its
// clients in the same process.
func serveOrders(mib int) func(*rand.Rand) {
	var lock sync.Mutex
	store := make([]*order, mib<<20/1100)
	for id := range store {
		store[id] = newOrder(id)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := new(order)
		if json.NewDecoder(r.Body).Decode(in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		lock.Lock()
		out := store[in.ID]
		store[in.ID] = in
		lock.Unlock()
		_ = json.NewEncoder(w).Encode(out)
	}))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, MaxConnsPerHost: 8}}
	jobs := make(chan int, 64)
	for range 8 {
		go func() {
			for id := range jobs {
				body, _ := json.Marshal(newOrder(id))
				answer, err := client.Post("http://"+listener.Addr().String(), "application/json", bytes.NewReader(body))
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				done.Add(1)
			}
		}()
	}
	return func(random *rand.Rand) { jobs <- random.Intn(len(store)) }
}

// keepRecent: a cache of the least recently used, with a list and a map of pointers. Most units find
// what they look for, the others load it and drop the oldest.
func keepRecent(mib int) func(*rand.Rand) {
	type page struct {
		key  int
		text []byte
	}
	size := mib << 20 / 700
	recent, places := list.New(), make(map[int]*list.Element, size)
	load := func(key int) {
		places[key] = recent.PushFront(&page{key, bytes.Repeat([]byte("page "), 100)})
		if recent.Len() > size {
			last := recent.Back()
			delete(places, recent.Remove(last).(*page).key)
		}
	}
	for key := range size {
		load(key)
	}
	return func(random *rand.Rand) {
		for range 16 {
			key := random.Intn(size * 5 / 4)
			if place, ok := places[key]; ok {
				recent.MoveToFront(place)
			} else {
				load(key)
			}
		}
		done.Add(1)
	}
}

// keepSmallMaps: many sessions, each with a small map of texts; a unit replaces one of them.
func keepSmallMaps(mib int) func(*rand.Rand) {
	kept := make([]map[string]string, mib<<20/1000)
	open := func(id int) map[string]string {
		made := make(map[string]string)
		for n := range 10 {
			made["field "+strconv.Itoa(n)] = "value " + strconv.Itoa(id*n)
		}
		return made
	}
	for id := range kept {
		kept[id] = open(id)
	}
	return func(random *rand.Rand) {
		for range 4 {
			id := random.Intn(len(kept))
			kept[id] = open(id)
		}
		done.Add(1)
	}
}

// descend needs about 200 bytes of stack a level, with a pointer in each.
func descend(depth int, wait <-chan struct{}, above *[16]int) int {
	var here [16]int
	here[depth%16] = above[0]
	if depth == 0 {
		<-wait
		return here[0]
	}
	return descend(depth-1, wait, &here) + here[depth%16]
}

// parkGoroutines: thousands of goroutines that wait deep in a call: most of the memory is stacks. A
// unit wakes one, which ends, starts another, and allocates and hashes some buffers.
func parkGoroutines(mib int) func(*rand.Rand) {
	waiting := make([]chan struct{}, mib<<20/(32<<10))
	park := func(at int) {
		waiting[at] = make(chan struct{})
		go descend(100, waiting[at], new([16]int))
	}
	for at := range waiting {
		park(at)
	}
	buffers := make([][]byte, 4096)
	return func(random *rand.Rand) {
		at := random.Intn(len(waiting))
		close(waiting[at])
		park(at)
		for range 32 {
			buffer := make([]byte, 1024)
			sum := sha256.Sum256(buffer)
			buffers[random.Intn(len(buffers))] = append(buffer[:1024-len(sum)], sum[:]...)
		}
		done.Add(1)
	}
}

// indexWords: which texts have a word. A unit splits and sorts a new text and puts its words into the
// index in place of those of an old text.
func indexWords(mib int) func(*rand.Rand) {
	const words = 20_000
	index := make(map[string][]int32, words)
	texts := make([]string, mib<<20/650)
	random := rand.New(rand.NewSource(2))
	write := func() string {
		var text strings.Builder
		for range 24 {
			text.WriteString("word" + strconv.Itoa(random.Intn(words)) + " ")
		}
		return text.String()
	}
	put := func(at int) {
		for _, word := range strings.Fields(texts[at]) {
			list := index[word]
			for i, text := range list {
				if text == int32(at) {
					list[i] = list[len(list)-1]
					index[word] = list[:len(list)-1]
					break
				}
			}
		}
		texts[at] = write()
		found := strings.Fields(texts[at])
		sort.Strings(found)
		for _, word := range found {
			index[word] = append(index[word], int32(at))
		}
	}
	for at := range texts {
		put(at)
	}
	return func(random *rand.Rand) {
		put(random.Intn(len(texts)))
		done.Add(1)
	}
}

type node struct {
	XMLName xml.Name `xml:"node"`
	Name    string   `xml:"name,attr"`
	Text    string   `xml:"text"`
	Nodes   []*node  `xml:"node"`
}

// keepDocuments: parsed XML. A unit parses a document again and searches it.
func keepDocuments(mib int) func(*rand.Rand) {
	var build func(depth, id int) *node
	build = func(depth, id int) *node {
		made := &node{Name: "n" + strconv.Itoa(id), Text: "some text of the node"}
		for n := range 3 {
			if depth > 0 {
				made.Nodes = append(made.Nodes, build(depth-1, id*3+n))
			}
		}
		return made
	}
	source, err := xml.Marshal(build(3, 1))
	if err != nil {
		panic(err)
	}
	parse := func() *node {
		made := new(node)
		if err := xml.Unmarshal(source, made); err != nil {
			panic(err)
		}
		return made
	}
	kept := make([]*node, mib<<20/7_000)
	for at := range kept {
		kept[at] = build(3, at)
	}
	return func(random *rand.Rand) {
		kept[random.Intn(len(kept))] = parse()
		done.Add(1)
	}
}

// keepWindows: series of points that grow by appending and are cut when they are long, as a store of
// metrics does. A unit adds a point to some of them, and sums one up.
func keepWindows(mib int) func(*rand.Rand) {
	type point struct {
		at    time.Time // has a pointer
		value float64
	}
	const long = 256
	series := make([][]point, mib<<20/(long*32))
	for at := range series {
		series[at] = make([]point, long/2)
	}
	sum := 0.0
	return func(random *rand.Rand) {
		now := time.Now()
		for range 32 {
			at := random.Intn(len(series))
			series[at] = append(series[at], point{now, float64(at)})
			if len(series[at]) >= long {
				series[at] = append([]point(nil), series[at][long/2:]...)
			}
		}
		for _, each := range series[random.Intn(len(series))] {
			sum += each.value
		}
		done.Add(1)
	}
}
