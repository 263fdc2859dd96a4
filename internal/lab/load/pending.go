package load

import (
	"math/rand/v2"
	"sync"
)

// pending is a request that is to be sent again by the client that sent it first.
type pending struct {
	client  *client
	request request
}

// unresolved remembers the calls that had no proper answer.
type unresolved struct {
	mu   sync.Mutex
	list []pending
}

func (u *unresolved) add(c *client, r request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = append(u.list, pending{client: c, request: r})
}

func (u *unresolved) take() []pending {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.list
	u.list = nil
	return l
}

// sample keeps a fair choice of the answered calls (reservoir sampling).
type sample struct {
	mu     sync.Mutex
	random *rand.Rand
	limit  int
	seen   int
	list   []pending
}

func newSample(limit int, seed uint64) *sample {
	return &sample{limit: limit, random: rand.New(rand.NewPCG(seed, 0x5a))}
}

func (s *sample) offer(c *client, r request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	if len(s.list) < s.limit {
		s.list = append(s.list, pending{client: c, request: r})
	} else if i := s.random.IntN(s.seen); i < s.limit {
		s.list[i] = pending{client: c, request: r}
	}
}

func (s *sample) take() []pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.list
	s.list = nil
	return l
}
