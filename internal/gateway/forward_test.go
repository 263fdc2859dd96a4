package gateway

import (
	"bufio"
	"net"
	"testing"
	"time"

	"perdure/internal/route"
)

// forward gives one keyed write through the gateway and back over loopback, client and application included; those two allocate nothing.
func forward(t testing.TB) func() {
	t.Helper()
	const request = "POST /v1/transfers HTTP/1.1\r\nHost: bank\r\nX-Account: acc-1\r\nIdempotency-Key: 0192d0f4\r\nContent-Length: 3\r\n\r\npay"
	reply := []byte("HTTP/1.1 200 OK\r\nPerdure-Ownership: 1.x.5\r\nPerdure-Outcome: committed\r\nPerdure-Receipt: {\"seq\":1,\"amount\":\"12.50\",\"accounts\":[\"a\",\"b\"]}\r\nContent-Length: 4\r\n\r\ndone")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(reply); err != nil {
						return
					}
				}
			}()
		}
	}()
	in := input(1, "a", own(1, 5))
	in.Instances = []route.Instance{{ID: "app", System: "bank", Site: "a", Address: ln.Addr().String()}}
	w := start(t, func(o *Options) { o.Static, o.Source, o.HealthEvery = &in, nil, time.Hour })
	c, err := net.Dial("tcp", w.g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	br := bufio.NewReader(c)
	out := []byte(request)
	return func() {
		if _, err := c.Write(out); err != nil {
			t.Fatal(err)
		}
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				t.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := br.Discard(4); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkForward shows the gateway's own allocations.
func BenchmarkForward(b *testing.B) {
	once := forward(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}
