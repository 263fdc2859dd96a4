package fake

import (
	"slices"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// span is one timeline of a directory's history; the last one has no end.
type span struct {
	timeline uint32
	end      estate.LSN
}

// entry is one record of the log; it ends at end.
type entry struct {
	end       estate.LSN
	timeline  uint32
	xid       uint32
	unit      estate.UnitID
	key       string // "" for what is no business transaction
	amount    int64
	at        time.Time
	ownership estate.Ownership // of a commit, or the highest seen where seen is set
	seen      bool
}

// entrySize is the length of every entry of the log.
const entrySize = 0x100

type gate struct {
	ownership estate.Ownership
	open      bool
	lease     time.Time
}

// waiter is a commit that waits for the in-sync set.
type waiter struct {
	unit    estate.UnitID
	at      estate.LSN
	since   time.Time
	outcome func() error
}

// directory is a member's database directory and the server on it. The network's lock guards it.
type directory struct {
	net    *Network
	member estate.MemberID

	// What is on disk.
	kind     driver.Directory
	system   string
	history  []span
	log      []entry
	upstream *driver.Upstream
	slots    map[estate.MemberID]bool
	// quarantine holds the units under judgement and with which ownership that began (I7).
	quarantine map[estate.UnitID]estate.Ownership

	// What ends with the server.
	running, recovering, frozen bool
	life                        estate.Life
	started                     time.Time
	gates                       map[estate.UnitID]*gate
	sync                        []string
	waiters                     []*waiter
	dead                        chan struct{}
}

func (d *directory) position() estate.LSN {
	if len(d.log) == 0 {
		return 0
	}
	return d.log[len(d.log)-1].end
}

func (d *directory) timeline() uint32 {
	if len(d.history) == 0 {
		return 0
	}
	return d.history[len(d.history)-1].timeline
}

func (d *directory) append(e entry) entry {
	e.end, e.timeline, e.xid = d.position()+entrySize, d.timeline(), uint32(len(d.log)+700)
	d.log = append(d.log, e)
	return e
}

// start brings the server up as the directory says: closed, without sync names.
func (d *directory) start(life estate.Life) {
	now := time.Now()
	if !now.After(d.started) {
		now = d.started.Add(time.Microsecond) // two lives never share a start
	}
	d.running, d.frozen, d.recovering = true, false, d.kind == driver.Standby
	d.life, d.started, d.gates, d.sync = life, now, map[estate.UnitID]*gate{}, nil
	d.dead = make(chan struct{})
}

// end takes the server down. Commits that wait become unknown to their clients.
func (d *directory) end(bool) {
	if !d.running {
		return
	}
	for _, w := range d.waiters {
		w.outcome = lostConnection
	}
	d.running, d.frozen, d.waiters, d.gates, d.sync = false, false, nil, nil, nil
	close(d.dead)
}

func lostConnection() error {
	return errs.New(errs.Unknown, "the connection ended before the commit was acknowledged")
}

// source gives the server that this one streams from, nil where nothing flows.
func (d *directory) source() *directory {
	if !d.running || d.frozen || !d.recovering || d.upstream == nil {
		return nil
	}
	up := d.net.members[d.upstream.Member]
	if up == nil || !up.running || up.frozen || up.system != d.system || !up.slots[d.member] || d.net.cut[[2]estate.MemberID{up.member, d.member}] {
		return nil
	}
	if _, ahead := forkOf(d, up); ahead {
		return nil
	}
	return up
}

// pull copies what is missing; it reports whether anything was.
func (d *directory) pull(up *directory) bool {
	if len(up.log) == len(d.log) && d.timeline() == up.timeline() {
		return false
	}
	d.log, d.history = slices.Clone(up.log), slices.Clone(up.history)
	return true
}

// forkOf gives the position up to which two logs are the same, and whether ours has more beyond it than theirs continues.
func forkOf(d, other *directory) (at estate.LSN, ahead bool) {
	i := 0
	for i < len(d.log) && i < len(other.log) && d.log[i].end == other.log[i].end && d.log[i].timeline == other.log[i].timeline && d.log[i].key == other.log[i].key {
		at = d.log[i].end
		i++
	}
	return at, i < len(d.log)
}

// release lets commits return that all listed lives have acknowledged (I2).
func (d *directory) release() {
	if !d.running || d.frozen || d.recovering {
		return
	}
	d.waiters = slices.DeleteFunc(d.waiters, func(w *waiter) bool {
		for _, name := range d.sync {
			if f, ok := d.follower(name); !ok || f.Flushed < w.at {
				return false
			}
		}
		w.outcome = func() error { return nil }
		return true
	})
}

func (d *directory) followers() []driver.Follower {
	var out []driver.Follower
	for _, f := range d.net.members {
		if f.source() == d {
			at := f.position()
			out = append(out, driver.Follower{Name: f.life.String(), Streaming: true, Sent: at, Flushed: at, Replayed: at, SlotOK: true})
		}
	}
	slices.SortFunc(out, func(a, b driver.Follower) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

func (d *directory) follower(name string) (driver.Follower, bool) {
	for _, f := range d.followers() {
		if f.Name == name {
			return f, true
		}
	}
	return driver.Follower{}, false
}

// highest is the highest ownership in the log.
func (d *directory) highest() estate.Ownership {
	var o estate.Ownership
	for _, e := range d.log {
		if e.seen && o.Less(e.ownership) {
			o = e.ownership
		}
	}
	return o
}
