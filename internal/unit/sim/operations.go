package sim

import (
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// The longer operations on a directory. Each goes on when the agent that asked for it dies, and ends with the server or
// the machine; what is left then is what a successor finds.

// sever cuts the WAL source durably and gives the position (I4).
func (d *database) sever(by *proc, done func(estate.LSN)) {
	before := d.lsn()
	d.upstream = nil
	cut := d.w.between(15*time.Millisecond, 60*time.Millisecond)
	if d.w.bug(ComparedBeforeCut) {
		cut += 300 * time.Millisecond
	}
	by.after(cut, func() {
		d.dropReceiver()
		if d.w.bug(ComparedBeforeCut) {
			done(before)
			return
		}
		done(d.lsn())
	})
}

// promote ends recovery when everything is replayed; killed before that, the directory is still a standby.
func (d *database) promote(done func()) {
	d.promoting = true
	var try func()
	try = func() {
		if !d.promoting || !d.ready {
			return
		}
		if d.w.now < d.conflict {
			d.p.after(100*time.Millisecond, try)
			return
		}
		d.promotes()
		d.dropReceiver()
		d.upstream = nil
		d.dir, d.recovering, d.promoting = unit.PrimaryDir, false, false
		d.names, d.waitFlag = nil, false
		d.gate = gateRow{}
		d.write(&entry{kind: timeline})
		d.load()
		d.w.tracef(d.p.name, "promoted at %d", d.len())
		done()
	}
	d.p.after(d.w.between(80*time.Millisecond, 250*time.Millisecond), try)
}

// grow puts the names in force, proves with a member that cannot answer that commits wait, and gives a mark that the
// candidate has flushed (I2). Where it fails the former names are in force again; a server that was started again meanwhile is left alone.
func (d *database) grow(by *proc, names []string, candidate string, done func(estate.LSN, bool)) {
	former, boot := slices.Clone(d.names), d.p.boot
	fail := func() {
		if d.p.boot == boot {
			d.reload(former)
		}
		done(0, false)
	}
	if d.w.bug(GrowUnproven) {
		d.reload(names)
		done(d.lsn(), true)
		return
	}
	d.reload(append(slices.Clone(names), ghost))
	until := d.w.now + int64(1500*time.Millisecond)
	var probe func()
	probe = func() {
		if d.w.now > until || d.p.boot != boot {
			fail()
			return
		}
		e := d.write(&entry{kind: noise})
		returned := false
		d.await(e, func(result) { returned = true })
		var look func()
		look = func() {
			switch {
			case returned:
				by.after(30*time.Millisecond, probe)
			case d.p.boot != boot:
				fail()
			case d.allHave(e.lsn):
				// Everybody who could answer has answered, and the commit still waits.
				d.proven(by, names, candidate, fail, done)
			case d.w.now > until:
				fail()
			default:
				by.after(10*time.Millisecond, look)
			}
		}
		by.after(5*time.Millisecond, look)
	}
	by.after(5*time.Millisecond, probe)
}

// allHave reports whether every follower that is connected has flushed the position.
func (d *database) allHave(pos int) bool {
	return !slices.ContainsFunc(d.senders, func(s *sender) bool { return s.flushed < pos })
}

func (d *database) proven(by *proc, names []string, candidate string, fail func(), done func(estate.LSN, bool)) {
	d.reload(names)
	mark, boot := d.write(&entry{kind: noise}).lsn, d.p.boot
	until := d.w.now + int64(1500*time.Millisecond)
	var look func()
	look = func() {
		switch {
		case slices.ContainsFunc(d.senders, func(s *sender) bool { return s.open && s.label == candidate && s.flushed >= mark }):
			done(estate.LSN(mark), true)
		case d.w.now > until || d.p.boot != boot:
			fail()
		default:
			by.after(10*time.Millisecond, look)
		}
	}
	by.after(5*time.Millisecond, look)
}

// admit makes a slot for every other member.
func (d *database) admit(rec *unit.Record) {
	if d.slots == nil {
		d.slots = map[estate.MemberID]bool{}
	}
	for _, m := range rec.Members {
		d.slots[m.ID] = true
	}
}

// admits reports whether every other member of the record has its slot.
func (d *database) admits(rec *unit.Record) bool {
	return !slices.ContainsFunc(rec.Members, func(m unit.Member) bool { return m.ID != d.m.id && !d.slots[m.ID] })
}

// serves reports whether a copy can be made from the server, or a comparison with it.
func (d *database) serves(to *proc) bool {
	return d.p.running() && d.ready && !d.half && d.w.walLinked(d.p, to)
}

// common is how long the two logs are the same.
func (d *database) common(o *database) int {
	n := min(d.len(), o.len())
	for n > 0 && d.wal[n-1] != o.wal[n-1] {
		n--
	}
	return n
}

// work lets the agent's process do something long that needs the source; done says whether it got to its end.
func (d *database) work(by *proc, source *database, takes time.Duration, done func(bool)) {
	until := by.mono() + takes
	var step func()
	step = func() {
		switch {
		case source != nil && !source.serves(by):
			done(false)
		case by.mono() >= until:
			done(true)
		default:
			by.after(min(200*time.Millisecond, takes), step)
		}
	}
	step()
}

// rewind makes the stopped directory a standby that has nothing its source has not. Cut short, only another rewind or a
// copy makes it useful again.
func (d *database) rewind(by *proc, source *database, done func(ok, refused bool)) {
	if d.p.up || !source.serves(by) {
		done(false, false)
		return
	}
	if !d.half && d.w.chance(60) {
		done(false, true)
		return
	}
	d.half = true
	d.work(by, source, d.w.long(300*time.Millisecond, 4*time.Second), func(ok bool) {
		if !ok || d.p.up {
			done(false, false)
			return
		}
		d.half = false
		d.wal = slices.Clone(d.wal[:d.common(source)])
		d.birth++
		d.afterCopy()
		d.w.stats.Rewinds++
		d.w.tracef(d.p.name, "rewound to %d onto %s", d.len(), source.p.name)
		done(true, false)
	})
}

// reinitialise replaces the directory by a copy; the old one stays until that is complete.
func (d *database) reinitialise(by *proc, source *database, done func(bool)) {
	if d.p.up || !source.serves(by) || !source.slots[d.m.id] {
		done(false)
		return
	}
	d.work(by, source, d.w.long(500*time.Millisecond, 5*time.Second), func(ok bool) {
		if !ok || d.p.up {
			done(false)
			return
		}
		d.half = false
		d.wal = slices.Clone(source.wal)
		d.birth++
		d.afterCopy()
		d.w.stats.Copies++
		d.w.tracef(d.p.name, "copied from %s at %d", source.p.name, d.len())
		done(true)
	})
}

func (d *database) afterCopy() {
	d.dir = unit.StandbyDir
	d.upstream, d.slots = nil, nil
	d.fenced = estate.Ownership{}
}
