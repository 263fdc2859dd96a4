// Package fake is a working driver without a database: directories, servers and their logs in memory, joined by a network in
// which they stream to each other. It keeps the contract of package driver, passes its conformance suite, and does in
// microseconds what a real server needs seconds for; it waits only where the real one would wait for somebody else.
package fake

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// Network joins the directories of one or more replication groups. Nothing in it runs by itself: every change is carried as
// far as it goes before the call that made it returns.
type Network struct {
	mu      sync.Mutex
	changed *sync.Cond
	members map[estate.MemberID]*directory
	cut     map[[2]estate.MemberID]bool
	systems int
}

// NewNetwork makes a network without members.
func NewNetwork() *Network {
	n := &Network{members: map[estate.MemberID]*directory{}, cut: map[[2]estate.MemberID]bool{}}
	n.changed = sync.NewCond(&n.mu)
	return n
}

// Database gives the driver of a member, with an empty directory where the member is new. Who asks again gets the same
// directory in the state it is in, as an agent that was restarted does.
func (n *Network) Database(member estate.MemberID) *Database {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.members[member]
	if d == nil {
		d = &directory{net: n, member: member}
		n.members[member] = d
	}
	return &Database{d: d}
}

// Cut ends the flow between two members in both directions until Heal.
func (n *Network) Cut(a, b estate.MemberID) {
	n.change(func() { n.cut[[2]estate.MemberID{a, b}], n.cut[[2]estate.MemberID{b, a}] = true, true })
}

// Heal lets two members reach each other again.
func (n *Network) Heal(a, b estate.MemberID) {
	n.change(func() {
		delete(n.cut, [2]estate.MemberID{a, b})
		delete(n.cut, [2]estate.MemberID{b, a})
	})
}

// Kill ends a member's server as a crash does.
func (n *Network) Kill(member estate.MemberID) { n.change(func() { n.members[member].end(false) }) }

// Replace ends a server and takes its directory away, as a new disk does.
func (n *Network) Replace(member estate.MemberID) {
	n.change(func() {
		d := n.members[member]
		d.end(false)
		d.kind, d.log, d.history, d.upstream = "", nil, nil, nil
	})
}

// Freeze makes a member's server hang: it lives, but neither answers nor acknowledges. Thaw ends it.
func (n *Network) Freeze(member estate.MemberID) {
	n.change(func() { n.members[member].frozen = true })
}

// Thaw lets a frozen server go on.
func (n *Network) Thaw(member estate.MemberID) {
	n.change(func() { n.members[member].frozen = false })
}

// Commit is what an application does: a transaction behind the guard with an idempotency record. It returns nil when the
// commit is acknowledged by all of the in-sync set, Refused where the unit is not open, and Unknown where it may have happened.
func (n *Network) Commit(ctx context.Context, member estate.MemberID, unit estate.UnitID, key string, amount int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.members[member]
	if !d.running || d.recovering {
		return errs.Refuse("I1", "%s does not take writes", member)
	}
	if err := n.wait(ctx, func() bool { return !d.frozen || !d.running }); err != nil {
		return errs.New(errs.Unavailable, "%s does not answer", member)
	}
	if g := d.gates[unit]; !d.running || g == nil || !g.open {
		return errs.Refuse("I1", "unit %s is closed at %s", unit, member)
	}
	if slices.ContainsFunc(d.log, func(e entry) bool { return e.key == key && key != "" }) {
		return errs.New(errs.Conflict, "key %s is recorded at %s already", key, member)
	}
	e := d.append(entry{unit: unit, key: key, amount: amount, ownership: d.gates[unit].ownership, at: time.Now()})
	w := &waiter{unit: unit, at: e.end, since: time.Now()}
	d.waiters = append(d.waiters, w)
	n.settle()
	if err := n.wait(ctx, func() bool { return w.outcome != nil }); err != nil {
		// Nobody may take back a commit that waits: who gives up does not know.
		return errs.New(errs.Unknown, "commit of %s at %s was not acknowledged in time", key, member)
	}
	return w.outcome()
}

// Keys lists what a member has recorded, as a local reader sees it, in order.
func (n *Network) Keys(member estate.MemberID) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	keys := []string{}
	for _, e := range n.members[member].log {
		if e.key != "" {
			keys = append(keys, e.key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (n *Network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	n.settle()
}

// wait returns nil when the condition holds. The lock is held before and after, not meanwhile.
func (n *Network) wait(ctx context.Context, ok func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changed.Broadcast()
	})
	defer stop()
	for !ok() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n.changed.Wait()
	}
	return nil
}

// settle lets everything flow that can: log to followers, acknowledgements back, waiting commits out.
func (n *Network) settle() {
	for moved := true; moved; {
		moved = false
		for _, d := range n.members {
			if up := d.source(); up != nil && d.pull(up) {
				moved = true
			}
		}
	}
	for _, d := range n.members {
		d.release()
	}
	n.changed.Broadcast()
}

func (n *Network) newSystem() string {
	n.systems++
	return "system-" + strconv.Itoa(n.systems)
}

// Reads reports whether the guard lets a plain read of the unit pass at a member now: its gate is open and its lease lasts.
func (n *Network) Reads(member estate.MemberID, unit estate.UnitID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.members[member]
	g := d.gates[unit]
	return d.running && !d.recovering && g != nil && g.open && time.Now().Before(g.lease)
}

// Open gives the ownership that a unit is open at on a member; ok is false where it is not.
func (n *Network) Open(member estate.MemberID, unit estate.UnitID) (o estate.Ownership, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.members[member]
	g := d.gates[unit]
	if !d.running || d.recovering || g == nil || !g.open {
		return estate.Ownership{}, false
	}
	return g.ownership, true
}

// SyncNames lists who has to acknowledge the commits of a member.
func (n *Network) SyncNames(member estate.MemberID) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.members[member].sync)
}
