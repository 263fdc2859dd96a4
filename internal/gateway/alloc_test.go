//go:build !race

package gateway

import "testing"

// Under the race detector pools forget on purpose; this holds without it.
func TestRequestAllocatesNothingOnItsWayThrough(t *testing.T) {
	once := forward(t)
	for range 500 {
		once()
	}
	// The average is rounded down: what the gateway allocates beside requests does not count, one per request does.
	if n := testing.AllocsPerRun(2000, once); n > 0 {
		t.Errorf("%v allocations per request", n)
	}
}
