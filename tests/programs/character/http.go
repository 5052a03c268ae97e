package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

type order struct {
	ID    int            `json:"id"`
	Name  string         `json:"name"`
	Items map[string]int `json:"items"`
}

func answer(w http.ResponseWriter, r *http.Request) {
	var o order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.Name = strings.ToUpper(o.Name)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(o)
}

// serving has a server on the loopback interface and clients of its own.
func serving() func(int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.HandlerFunc(answer))
	url := fmt.Sprintf("http://%s/orders", listener.Addr())
	const clients, requests = 4, 5
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	return func(n int) {
		var done sync.WaitGroup
		for i := 0; i < clients; i++ {
			done.Add(1)
			go func() {
				defer done.Done()
				for r := 0; r < requests; r++ {
					body := strings.NewReader(`{"id":7,"name":"tea","items":{"green":2,"black":3}}`)
					response, err := client.Post(url, "application/json", body)
					if err != nil {
						panic(err)
					}
					io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
			}()
		}
		done.Wait()
	}
}
