package api

import (
	"fmt"
	"testing"
	"time"
)

func TestPaceGivesTriesBackAndForgetsWhoHasThemAll(t *testing.T) {
	var p pace
	now := time.Unix(1_800_000_000, 0)
	for i := range loginBurst {
		if wait := p.take("192.0.2.1", now); wait != 0 {
			t.Fatalf("try %d waits %s", i+1, wait)
		}
	}
	if wait := p.take("192.0.2.1", now); wait != loginInterval {
		t.Errorf("one more waits %s", wait)
	}
	if wait := p.take("192.0.2.2", now); wait != 0 {
		t.Errorf("another address waits %s", wait)
	}
	if wait := p.take("192.0.2.1", now.Add(loginInterval)); wait != 0 {
		t.Errorf("later it waits %s", wait)
	}
	for i := range 3 * mostAddresses {
		p.take(fmt.Sprint("host", i), now)
	}
	if len(p.free) > mostAddresses+1 {
		t.Errorf("%d addresses are kept", len(p.free))
	}
	if wait := p.take("one more host", now); wait == 0 {
		t.Error("those that are not told apart have no common pace")
	}
	if wait := p.take("one more host", now.Add(time.Hour)); wait != 0 || len(p.free) > 2 {
		t.Errorf("an hour later it waits %s, and %d addresses are kept", wait, len(p.free))
	}
}
