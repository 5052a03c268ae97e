// Idle is a service that has almost nothing to do, or one that starts others of its kind.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// name makes a binary of its own of each copy: the benchmark replaces its digits.
const name = "idle.test/k0000"

type state struct {
	Name string            `json:"name"`
	At   time.Time         `json:"at"`
	Tags map[string]string `json:"tags"`
}

func main() {
	life := flag.Duration("life", 0, "how long to live; 0: until it is killed")
	burn := flag.Duration("burn", 0, "CPU time to use at first")
	starts := flag.Float64("starts", 0, "processes to start a second, of this program")
	flag.Parse()
	// So that the program has the code of a service.
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { render(w) })
	began := time.Now()
	for time.Since(began) < *burn {
		render(discard{})
	}
	if *starts > 0 {
		start(time.Duration(float64(time.Second) / *starts))
	}
	for *life == 0 || time.Since(began) < *life {
		pause := time.Second
		if *life > 0 && *life < pause {
			pause = *life
		}
		time.Sleep(pause)
		render(discard{})
	}
}

// start never returns. The processes end by themselves.
func start(every time.Duration) {
	path, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	for range time.Tick(every) {
		command := exec.Command(path, "-life", "500ms", "-burn", "5ms")
		if err := command.Start(); err != nil {
			log.Fatal(err)
		}
		go command.Wait()
	}
}

func render(w interface{ Write([]byte) (int, error) }) {
	text, err := json.Marshal(state{name, time.Now(), map[string]string{"kind": "idle"}})
	if err != nil {
		log.Fatal(err)
	}
	w.Write(text)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
