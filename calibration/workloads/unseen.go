package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math/big"
	"math/rand"
	"strconv"
	"strings"
	"sync"
	"time"
)

// parseSources: syntax trees of small source files, a goroutine for each.
func parseSources(rate float64) {
	var source strings.Builder
	source.WriteString("package p\n")
	for n := 0; n < 12; n++ {
		source.WriteString("func f" + strconv.Itoa(n) + "(a, b int) (c int) {\n\tfor a < b { a += b; if a > 10 { c++ } }\n\treturn\n}\n")
	}
	text := source.String()
	arrive(rate, func(*rand.Rand) {
		go func() {
			file, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
			if err != nil {
				panic(err)
			}
			names := 0
			ast.Inspect(file, func(n ast.Node) bool {
				if _, ok := n.(*ast.Ident); ok {
					names++
				}
				return true
			})
			done.Add(1)
		}()
	})
}

type order struct {
	XMLName xml.Name `xml:"order"`
	ID      int      `xml:"id,attr"`
	Lines   []string `xml:"line"`
}

// pipeDocuments: XML that one goroutine writes and another reads at the same time, through a pipe
// in memory.
func pipeDocuments(rate float64) {
	jobs := make(chan int, 64)
	for i := 0; i < 6; i++ {
		go func() {
			for number := range jobs {
				read, write := io.Pipe()
				go func() {
					out := bufio.NewWriterSize(write, 256)
					err := xml.NewEncoder(out).Encode(order{ID: number, Lines: []string{"one", "two", "three & four", "five"}})
					_ = out.Flush()
					_ = write.CloseWithError(err)
				}()
				var got order
				if xml.NewDecoder(read).Decode(&got) == nil && got.ID == number {
					done.Add(1)
				}
				_, _ = io.Copy(io.Discard, read)
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- random.Intn(1e6) })
}

// askBackends: each request asks five backends at once, which answer after some milliseconds; at
// most 400 questions are on their way.
func askBackends(rate float64) {
	room := make(chan struct{}, 400)
	arrive(rate, func(random *rand.Rand) {
		seed := random.Int63()
		go func() {
			var all sync.WaitGroup
			var answers [5]string
			for i := range answers {
				all.Add(1)
				room <- struct{}{}
				go func(i int) {
					defer all.Done()
					time.Sleep(time.Duration(1+(seed>>uint(i*4))%8) * time.Millisecond)
					answers[i] = strings.Repeat(strconv.FormatInt(seed, 36), 20)
					<-room
				}(i)
			}
			all.Wait()
			if len(strings.Join(answers[:], ",")) > 0 {
				done.Add(1)
			}
		}()
	})
}

// encrypt: requests over a few TLS connections that stay open, on the loopback.
func encrypt(rate float64) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(cryptorand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				panic(err)
			}
			go func() {
				asked := make([]byte, 2048)
				for {
					if _, err := io.ReadFull(connection, asked); err != nil {
						return
					}
					if _, err := connection.Write(asked[:512]); err != nil {
						return
					}
				}
			}()
		}
	}()
	jobs := make(chan byte, 256)
	for i := 0; i < 10; i++ {
		go func() {
			connection, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				panic(err)
			}
			asked, answer := make([]byte, 2048), make([]byte, 512)
			for first := range jobs {
				asked[0] = first
				if _, err := connection.Write(asked); err != nil {
					return
				}
				if _, err := io.ReadFull(connection, answer); err != nil {
					return
				}
				if answer[0] == first {
					done.Add(1)
				}
			}
		}()
	}
	arrive(rate, func(random *rand.Rand) { jobs <- byte(random.Intn(256)) })
}
