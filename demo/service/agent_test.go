package main

import (
	"math/rand"
	"testing"
)

// A captured request comes back with the fields it was made of.
func TestParseSpan(t *testing.T) {
	got, err := parseSpan(captured(rand.New(rand.NewSource(7))))
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.Host != "checkout.shop.svc.cluster.local" || got.Client != "storefront/2.1" {
		t.Errorf("head of the request: %+v", got)
	}
	if len(got.Order.Items) != orderItems || got.Order.Labels["region"] != "eu-west-1" {
		t.Errorf("order: %d items, labels %v", len(got.Order.Items), got.Order.Labels)
	}
}

// A request cut short is an error, wherever it is cut.
func TestParseSpanCutShort(t *testing.T) {
	whole := captured(rand.New(rand.NewSource(7)))
	for cut := 0; cut < len(whole); cut += 97 {
		if _, err := parseSpan(whole[:cut]); err == nil {
			t.Errorf("no error for the first %d of %d bytes", cut, len(whole))
		}
	}
}

// What one event costs without the pool, the collector's work included.
func BenchmarkParseSpan(b *testing.B) {
	event := captured(rand.New(rand.NewSource(7)))
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		if _, err := parseSpan(event); err != nil {
			b.Fatal(err)
		}
	}
}
