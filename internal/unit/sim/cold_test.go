package sim

import (
	"testing"
	"time"
)

// scatteredFor is a world in which no site sees another one any more, for so long.
func scatteredFor(d time.Duration) *world {
	w := build(Config{Seed: 1, Profile: Leader})
	w.begin()
	w.run(int64(10 * time.Second))
	w.link(false, 0, 1, 2)
	w.run(w.now + int64(d))
	return w
}

// link cuts or heals every link among the sites.
func (w *world) link(heal bool, sites ...int) {
	for _, i := range sites {
		for _, j := range sites {
			if i != j {
				w.net.cut[i][j] = !heal
			}
		}
	}
}

func (w *world) cold() (n int) {
	for _, node := range w.nodes {
		if node.cold {
			n++
		}
	}
	return n
}

func TestNodeThatWasLongWithoutALeaderIsCold(t *testing.T) {
	if n := scatteredFor(25 * time.Second).cold(); n != 0 {
		t.Fatalf("%d nodes are cold after 25 s", n)
	}
	w := scatteredFor(33 * time.Second)
	if n := w.cold(); n != 3 {
		t.Fatalf("%d nodes are cold after 33 s, want all", n)
	}
	w.link(true, 0, 1, 2)
	w.run(w.now + int64(4*time.Second)) // an election, and a greeting
	if n := w.cold(); n != 0 {
		t.Errorf("%d nodes are still cold, though each has heard everybody", n)
	}
}

// The quorum of the former incarnation comes back while people act elsewhere: it was never restarted, and must not act (I10).
func TestQuorumThatComesBackAfterARecoveryElsewhereDoesNotAct(t *testing.T) {
	w := scatteredFor(33 * time.Second)
	w.recoverStore(w.nodes[2])
	w.link(true, 0, 1)
	w.run(w.now + int64(20*time.Second))
	old := w.clusters[0]
	if old.leader == nil || !old.commands(old.leader) {
		t.Fatal("the former store has no quorum")
	}
	for _, n := range w.nodes[:2] {
		if n.mayAct() == nil {
			t.Errorf("%s may act in incarnation %d", n.p.name, n.cluster.inc.Counter)
		}
	}
	w.link(true, 0, 1, 2)
	w.run(w.now + int64(2*time.Second))
	for _, n := range w.nodes[:2] {
		if n.met != w.top().inc {
			t.Errorf("%s has met incarnation %d", n.p.name, n.met.Counter)
		}
	}
}
