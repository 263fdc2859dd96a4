package etcdnode

import (
	"context"
	"slices"
	"time"
)

const (
	// nearRounds is how many rounds the shortest answer of a peer is taken from: a busy moment makes nobody distant.
	nearRounds = 20
	// farFactor and farMargin say how much farther from its majority a leader has to be than another node before it hands over.
	farFactor = 3
	farMargin = 5 * time.Millisecond
)

// nearness is how far the peers are, by the shortest of their last answers.
type nearness struct {
	answers map[string][]time.Duration
}

func (n *nearness) answered(peer string, took time.Duration) {
	if n.answers == nil {
		n.answers = map[string][]time.Duration{}
	}
	last := append(n.answers[peer], took)
	n.answers[peer] = last[max(0, len(last)-nearRounds):]
}

// gone forgets a peer that does not answer.
func (n *nearness) gone(peer string) { delete(n.answers, peer) }

// toMajority is the time to the nearest peers that make a majority with this node, of so many in all. ok is false where they do
// not answer, or not yet often enough to tell.
func (n *nearness) toMajority(nodes int) (far time.Duration, ok bool) {
	var shortest []time.Duration
	for _, a := range n.answers {
		if len(a) == nearRounds {
			shortest = append(shortest, slices.Min(a))
		}
	}
	slices.Sort(shortest)
	need := nodes / 2
	if need == 0 || len(shortest) < need {
		return 0, false
	}
	return shortest[need-1], true
}

// handOver passes the leadership of the store to a node that is much nearer to a majority: every change of ownership waits for the
// way from the leader to a majority, so a leader in the remote city would slow down each step of a switch.
func (s *Standing) handOver(ctx context.Context) {
	if s.o.IsLeader == nil || !s.o.IsLeader() {
		return
	}
	s.mu.Lock()
	own, known := s.near.toMajority(len(s.o.Peers) + 1)
	best, to := own, ""
	for peer, h := range s.heard {
		far := time.Duration(h.standing.MajorityMicros) * time.Microsecond
		if h.err == "" && far > 0 && far < best && !h.standing.Cold && h.standing.Superseded == nil && !h.standing.Removed {
			best, to = far, peer
		}
	}
	s.mu.Unlock()
	if !known || to == "" || own < farFactor*best || own < best+farMargin {
		return
	}
	if err := s.o.HandOver(ctx, to); err != nil {
		s.o.Logger.Debug("the leadership of the store was not handed over", "to", to, "error", err)
		return
	}
	s.o.Logger.Info("the leadership of the store is handed to a node that is nearer to a majority", "to", to, "own", own, "its", best)
}
