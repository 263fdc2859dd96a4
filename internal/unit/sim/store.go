package sim

import (
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// stored is a record with the revision it was written at.
type stored struct {
	rec unit.Record
	rev int64
}

// newer reports whether s is news to somebody who knows o: a higher incarnation first, then a later revision.
func (s stored) newer(o stored) bool { return unit.Newer(s.rec, s.rev, o.rec, o.rev) }

// cluster is the control store: one conditional write at a time, by a leader that reaches a majority.
type cluster struct {
	w       *world
	inc     estate.Incarnation
	members []*node
	leader  *node
	term    int
	lost    int64 // since when there is no leader that could write, noTime where there is one
	elect   int64
	recs    []stored
	rev     int64
	// gaps counts how often writing stopped.
	gaps int
	born int64 // when it was made
}

func (c *cluster) quorum() int { return len(c.members)/2 + 1 }

// commands reports whether the node reaches a majority both ways.
func (c *cluster) commands(n *node) bool {
	if n == nil || n.cluster != c || !n.p.running() {
		return false
	}
	have := 0
	for _, m := range c.members {
		if m == n || m.cluster == c && m.p.running() && c.w.linked(n.p, m.p) {
			have++
		}
	}
	return have >= c.quorum()
}

// tick notices that the leader is gone and elects another one after a while.
func (c *cluster) tick() {
	w := c.w
	if c.leader != nil && c.commands(c.leader) {
		c.lost = noTime
		return
	}
	if c.lost == noTime {
		c.lost = w.now
		c.elect = w.now + int64(w.between(900*time.Millisecond, 2*time.Second))
		c.gaps++
	}
	if w.now < c.elect {
		return
	}
	var able []*node
	for _, m := range c.members {
		if c.commands(m) {
			able = append(able, m)
		}
	}
	if len(able) == 0 {
		return
	}
	c.leader = able[w.rng.IntN(len(able))]
	c.term++
	c.lost = noTime
	w.tracef("store", "%s leads term %d of %s", c.leader.p.name, c.term, c.inc.ID)
}

// outcome is the answer to a conditional write. Known is false where it may have happened, or may yet.
type outcome struct {
	now   stored
	err   error
	known bool
}

// write commits the transition if the record is still at the revision. It may come late or be lost with its answer.
func (c *cluster) write(from *node, g *group, rev int64, t unit.Transition, done func(outcome)) {
	w := c.w
	leader, term := c.leader, c.term
	if leader == nil || leader.cluster != c {
		return // nobody answers
	}
	answer := func(o outcome) {
		w.send(leader.p, from.p, func() { done(o) })
	}
	w.send(from.p, leader.p, func() {
		if leader.cluster != c || c.leader != leader || c.term != term {
			return
		}
		// One round trip to the nearest majority.
		wait := w.between(500*time.Microsecond, 2*time.Millisecond)
		if w.chance(5) {
			wait = w.long(10*time.Millisecond, 500*time.Millisecond) // a slow disk
		}
		if w.slowStore > 0 && w.chance(300) {
			wait = w.between(0, w.slowStore)
		}
		leader.p.after(wait, func() { c.commit(leader, term, g, rev, t, 0, answer) })
	})
}

func (c *cluster) commit(leader *node, term int, g *group, rev int64, t unit.Transition, tries int, answer func(outcome)) {
	w := c.w
	if leader.cluster != c || c.term != term {
		return
	}
	if !c.commands(leader) {
		// In the leader's log without a majority: it is committed later, when the leader finds one before it is replaced.
		if tries < 20 {
			leader.p.after(300*time.Millisecond, func() { c.commit(leader, term, g, rev, t, tries+1, answer) })
		}
		return
	}
	cur := &c.recs[g.index]
	if rev != 0 && cur.rev != rev {
		w.stats.Conflicts++
		answer(outcome{now: *cur, known: true, err: errs.New(errs.Conflict, "the record is at revision %d, not %d", cur.rev, rev)})
		return
	}
	next, err := w.apply(cur.rec, t)
	if err != nil {
		if w.tracing() {
			w.tracef("store", "%s refuses %s by %s: %v", g.name, t.Kind, who(t), err)
		}
		answer(outcome{now: *cur, known: true, err: err})
		return
	}
	old := cur.rec
	c.rev++
	*cur = stored{next, c.rev}
	w.mix(uint64(c.rev))
	w.committed(c, g, old, t)
	for _, m := range c.members {
		c.replicate(leader, m, g)
	}
	answer(outcome{now: *cur, known: true})
}

func who(t unit.Transition) string {
	if t.Person != "" {
		return t.Person
	}
	if t.By.Member != "" {
		return t.By.String()
	}
	return "a node"
}

// replicate brings a record to a member of the store, which may lag.
func (c *cluster) replicate(leader, m *node, g *group) {
	s := c.recs[g.index]
	if m == leader {
		m.learn(g, s)
		return
	}
	c.w.send(leader.p, m.p, func() {
		if m.cluster == c {
			m.learn(g, s)
		}
	})
}

// catchUp brings members up to date that missed something.
func (c *cluster) catchUp() {
	if c.leader == nil || !c.commands(c.leader) {
		return
	}
	for _, m := range c.members {
		if m.cluster != c || !m.p.running() || !c.w.linked(m.p, c.leader.p) {
			continue
		}
		for _, g := range c.w.groups {
			if m.view[g.index].rev < c.recs[g.index].rev {
				c.replicate(c.leader, m, g)
			}
		}
	}
}
