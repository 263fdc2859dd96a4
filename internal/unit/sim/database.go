package sim

import (
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// What an entry of the write-ahead log is.
const (
	noise    = iota // checkpoints, running transactions, marks, barriers
	transfer        // a keyed transaction inside one unit
	debit           // a keyed transaction with an outbox message to another group
	credit          // its other half
	sent            // the outbox message of ref was delivered
	timeline        // the end of recovery: histories fork here
	guardRow        // only where the guard is logged (a seeded bug)
	purged          // idempotency rows up to a key were dropped
)

// entry is one record of a write-ahead log. Its position is its index plus one. Copies share entries: two logs are the
// same history as far as they hold the same ones.
type entry struct {
	lsn  int
	kind uint8
	req  *request // keyed kinds
	own  estate.Ownership
	ref  *entry // sent
	gate gateRow
	upTo uint64 // purged
	at   int64
	// waits: on the database that made it, until the in-sync set has it. It is not visible so long.
	waits bool
	// acked: somebody was told, at that time.
	acked int64
	// lost: an accepted loss; returned: it was listed after the return of the directory that had it.
	lost, returned bool
}

// gateRow is a guard row of a unit.
type gateRow struct {
	own   estate.Ownership
	open  bool
	start uint64 // the life of the server it belongs to
	there bool
}

// database is one data directory and the server on it: a model of PostgreSQL as it was measured.
type database struct {
	w *world
	m *member
	p *proc

	dir   unit.Directory
	wal   []*entry
	half  bool // a rewind was cut short: the directory is not usable
	birth int  // counts what lay in the directory

	ready      bool // accepts connections
	recovering bool
	start      uint64 // pg_postmaster_start_time
	life       estate.Life
	promoting  bool

	names     []string // synchronous_standby_names in force
	waitFlag  bool     // whether a backend waits at all: the checkpointer says
	frozen    int64    // until when the checkpointer is busy
	stalled   int64    // until when the disk is slow
	conflict  int64    // until when a reader holds up replay
	replayed  int      // meanwhile
	gate      gateRow
	closings  int // how often the gate was closed in this life
	lease     int64
	upstream  *database                // primary_conninfo
	slots     map[estate.MemberID]bool // replication slots: who may stream from here
	streaming *sender                  // the WAL receiver
	senders   []*sender
	waiting   []*waiter
	txns      []*txn
	keys      map[uint64]*entry
	outbox    []*entry
	horizon   uint64 // idempotency rows up to this key are gone

	// what the checker remembers
	opened             []estate.Ownership // by its agent, in this life
	fenced             estate.Ownership   // closed and drained for it
	fencedAt, leasedAt int64
	closedBy           estate.Ownership // closed by its agent at it
	highest            estate.Ownership
}

// txn is a transaction in flight: it holds the unit's shared lock until it ends.
type txn struct {
	e        *entry
	begun    int64
	closings int
	dead     bool
	guarded  bool
	done     func(result)
}

// waiter is a commit in the synchronous wait.
type waiter struct {
	e     *entry
	since int64
	done  func(result)
}

// result is how a call to the database ended.
type result uint8

const (
	committed result = iota // success, without a warning
	cancelled               // success with warning 01000: visible here, perhaps nowhere else
	broken                  // the connection was lost: nobody knows
	notOwner                // the guard refused: nothing happened
	running                 // the same key is being executed
	tooOld                  // the key is older than what is kept
	failed                  // nothing happened
)

func (w *world) newDatabase(m *member) *database {
	d := &database{w: w, m: m, dir: unit.EmptyDir}
	d.p = w.newProc("db-"+string(m.id), m.site, m.ppm)
	d.p.end, d.p.member = d.died, true
	return d
}

func (d *database) len() int { return len(d.wal) }

func (d *database) lsn() estate.LSN { return estate.LSN(len(d.wal)) }

// has reports whether the log contains exactly this entry.
func (d *database) has(e *entry) bool {
	return e.lsn <= len(d.wal) && d.wal[e.lsn-1] == e
}

// replayPos is how far a standby has replayed.
func (d *database) replayPos() int {
	if d.recovering && d.w.now < d.conflict {
		return min(d.replayed, len(d.wal))
	}
	return len(d.wal)
}

// holdReplay is a reader whose snapshot stands in the way.
func (d *database) holdReplay(until int64) {
	d.replayed = d.replayPos()
	d.conflict = until
}

// write appends to the log; it is durable here at once.
func (d *database) write(e *entry) *entry {
	e.lsn, e.at = len(d.wal)+1, d.w.now
	d.wal = append(d.wal, e)
	d.pump()
	return e
}

// launch starts the server; it answers after a while. A primary starts without sync names, and every guard row of an
// earlier life is void.
func (d *database) launch(life estate.Life, rec *unit.Record) {
	d.p.start()
	d.w.starts++
	d.start = d.w.starts
	d.life = life
	d.ready, d.promoting = false, false
	d.recovering = d.dir == unit.StandbyDir
	d.names, d.waitFlag = nil, false
	d.closings, d.opened = 0, nil
	d.lease = 0
	if !d.w.bug(RestartStaysOpen) && !d.w.bug(LoggedGuard) {
		d.gate = gateRow{}
	}
	if !d.recovering {
		d.startsWritable(rec)
	}
	d.p.after(d.w.between(150*time.Millisecond, 900*time.Millisecond), func() {
		d.ready = true
		if d.recovering {
			d.connectLater(0)
		} else {
			d.load()
		}
		d.tick()
	})
}

// load builds what a primary knows from its log.
func (d *database) load() {
	d.keys = make(map[uint64]*entry, len(d.wal))
	d.outbox = d.outbox[:0]
	d.horizon = 0
	done := map[*entry]bool{}
	for _, e := range d.wal {
		switch e.kind {
		case transfer, credit:
			d.keys[e.req.key] = e
		case debit:
			d.keys[e.req.key] = e
			d.outbox = append(d.outbox, e)
		case sent:
			done[e.ref] = true
		case guardRow:
			d.gate = e.gate
			d.gate.there = true
		case purged:
			d.horizon = e.upTo
		}
	}
	d.outbox = slices.DeleteFunc(d.outbox, func(e *entry) bool { return done[e] })
	if d.horizon > 0 {
		for k := range d.keys {
			if k <= d.horizon {
				delete(d.keys, k)
			}
		}
	}
	if d.w.bug(LoggedGuard) {
		d.gate.start = d.start
	}
}

// died is what the end of the server's process means: connections are reset, what waited becomes visible.
func (d *database) died() {
	d.ready = false
	d.endSessions(true)
	d.dropSenders()
	d.dropReceiver()
	if !d.w.bug(RestartStaysOpen) && !d.w.bug(LoggedGuard) {
		d.gate = gateRow{}
	}
	d.lease = 0
	d.promoting = false
}

// endSessions ends every transaction and every wait: their clients do not know.
func (d *database) endSessions(lost bool) {
	for _, t := range d.txns {
		t.dead = true
		t.done(pick(lost, broken, failed))
	}
	d.txns = nil
	d.endWaits(broken)
}

func pick[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}

// endWaits makes everything visible that waited, without the in-sync set.
func (d *database) endWaits(r result) {
	waiting := d.waiting
	d.waiting = nil
	for _, x := range waiting {
		x.e.waits = false
		x.done(r)
	}
}

// crashBackend is what an out-of-memory kill of one backend does: the postmaster starts over within the same life.
func (d *database) crashBackend() {
	if !d.ready {
		return
	}
	d.w.tracef(d.p.name, "a backend is killed: the server starts over")
	d.endSessions(true)
	d.dropSenders()
	d.dropReceiver()
	if !d.w.bug(RestartStaysOpen) && !d.w.bug(LoggedGuard) {
		d.gate = gateRow{}
		d.lease = 0
	}
	d.opened = nil
	d.ready = false
	d.p.after(d.w.between(100*time.Millisecond, 600*time.Millisecond), func() {
		d.ready = true
		if d.recovering {
			d.connectLater(0)
		}
	})
}

// tick is the server's housekeeping.
func (d *database) tick() {
	d.p.after(400*time.Millisecond, d.tick)
	d.checkSenders()
	d.checkReceiver()
	if d.ready && !d.recovering && d.w.chance(200) {
		d.write(&entry{kind: noise})
	}
}

// mayWrite is the guard: a row of this very life, open.
func (d *database) mayWrite() bool {
	if !d.ready || d.recovering || !d.gate.there || !d.gate.open {
		return false
	}
	return d.gate.start == d.start || d.w.bug(RestartStaysOpen) || d.w.bug(LoggedGuard)
}

// mayRead is the guard of a plain read: the row, and the lease by the wall clock.
func (d *database) mayRead() bool { return d.mayWrite() && d.p.wall() < d.lease }

// open inserts the guard row.
func (d *database) open(own estate.Ownership) {
	d.opensGate(own)
	d.gate = gateRow{own: own, open: true, start: d.start, there: true}
	d.opened = append(d.opened, own)
	if d.highest.Less(own) {
		d.highest = own
	}
	if d.w.bug(LoggedGuard) {
		d.write(&entry{kind: guardRow, gate: d.gate})
	} else {
		d.write(&entry{kind: noise}) // perdure.seen, without waiting for a copy
	}
}

// close marks the guard row closed.
func (d *database) close() {
	if d.gate.there && d.gate.open {
		d.gate.open = false
		d.closings++
		d.w.tracef(d.p.name, "gate closed at %s", d.gate.own)
	}
	d.lease = 0
}

// drain ends every transaction in flight, in bounded tries, and gives the fence (I9).
func (d *database) drain(by *proc, done func(estate.LSN)) {
	if d.w.bug(FenceAtStatement) {
		by.after(5*time.Millisecond, func() { d.isFenced(); done(d.lsn()) })
		return
	}
	tries := 0
	var try func()
	try = func() {
		held := slices.ContainsFunc(d.txns, func(t *txn) bool { return t.guarded })
		if !held && len(d.waiting) == 0 {
			d.isFenced()
			done(d.lsn())
			return
		}
		tries++
		if tries >= 2 { // end the blockers
			for _, t := range slices.Clone(d.txns) {
				if t.guarded {
					d.endTxn(t)
					t.done(failed)
				}
			}
			d.endWaits(broken)
		}
		by.after(50*time.Millisecond, try)
	}
	by.after(time.Millisecond, try)
}

func (d *database) endTxn(t *txn) {
	t.dead = true
	if i := slices.Index(d.txns, t); i >= 0 {
		d.txns = slices.Delete(d.txns, i, i+1)
	}
}

// execute runs a keyed request as one transaction. Seen from the application: begin, guard, key, work, commit.
func (d *database) execute(r *request, alive func() bool, done func(result, *entry, estate.Ownership)) {
	w := d.w
	if !d.ready || d.recovering {
		done(notOwner, nil, estate.Ownership{})
		return
	}
	late := w.bug(GuardLate)
	if !late && !d.mayWrite() {
		done(notOwner, nil, estate.Ownership{})
		return
	}
	own := d.gate.own
	if !late {
		d.passesGate(own)
	}
	if r.key <= d.horizon && !w.bug(RetentionForgotten) {
		done(tooOld, nil, own)
		return
	}
	if e := d.keys[r.key]; e != nil {
		d.again(e, own, done)
		return
	}
	e := &entry{kind: r.kind, req: r, own: own}
	t := &txn{e: e, begun: w.now, closings: d.closings, guarded: !late}
	t.done = func(x result) { done(x, e, own) }
	d.txns = append(d.txns, t)
	d.keys[r.key] = e
	e.waits = true
	work := w.long(time.Millisecond, 20*time.Millisecond)
	if w.chance(w.profile.longWork) {
		work = w.long(200*time.Millisecond, 3*time.Second)
	}
	d.p.after(work, func() {
		if t.dead {
			if d.keys[r.key] == e {
				delete(d.keys, r.key)
			}
			return
		}
		forget := func(x result) {
			d.endTxn(t)
			delete(d.keys, r.key)
			done(x, nil, own)
		}
		if !alive() { // the application is gone: rolled back
			forget(failed)
			return
		}
		if late {
			if !d.mayWrite() {
				forget(notOwner)
				return
			}
			own = d.gate.own
			e.own = own
			d.passesGate(own)
		}
		d.commits(t)
		d.endTxn(t)
		d.write(e)
		if e.kind == debit {
			d.outbox = append(d.outbox, e)
		}
		d.await(e, func(x result) { done(x, e, own) })
	})
}

// again answers a key that is there already, behind the barrier (I3).
func (d *database) again(e *entry, own estate.Ownership, done func(result, *entry, estate.Ownership)) {
	switch {
	case e.waits:
		done(running, nil, own)
	case d.w.bug(NoBarrier):
		done(committed, e, own)
	default:
		d.barrier(func(x result) {
			done(x, e, own)
		})
	}
}

// barrier is a locking read or an emitted message: it commits, and waits like a commit.
func (d *database) barrier(done func(result)) {
	d.await(d.write(&entry{kind: noise}), done)
}

// await lets a commit return when the in-sync set has it.
func (d *database) await(e *entry, done func(result)) {
	if !d.waitFlag {
		e.waits = false
		d.w.released(d, e)
		done(committed)
		return
	}
	e.waits = true
	d.waiting = append(d.waiting, &waiter{e: e, since: d.w.now, done: done})
	for _, s := range d.senders {
		d.release(s)
	}
}

// cancelWait is a cancel from anywhere: PostgreSQL says success, with a warning.
func (d *database) cancelWait(i int) {
	x := d.waiting[i]
	d.waiting = slices.Delete(d.waiting, i, i+1)
	x.e.waits = false
	x.done(cancelled)
}

// oldestWait is the age of the oldest commit in the synchronous wait.
func (d *database) oldestWait() time.Duration {
	if len(d.waiting) == 0 {
		return 0
	}
	return time.Duration(d.w.now - d.waiting[0].since)
}

// probeCommit is the probe of a seeded bug: it commits.
func (d *database) probeCommit(done func()) {
	if !d.p.up {
		return
	}
	d.p.after(time.Millisecond, func() {
		if d.ready && !d.recovering {
			d.barrier(func(x result) {
				if x == committed {
					done()
				}
			})
		}
	})
}

// purge drops idempotency rows that are older than the retention, and remembers how far (I5).
func (d *database) purge(upTo uint64) {
	if !d.mayWrite() || upTo <= d.horizon {
		return
	}
	for k, e := range d.keys {
		if k <= upTo && !e.waits {
			delete(d.keys, k)
		}
	}
	d.horizon = upTo
	d.write(&entry{kind: purged, upTo: upTo})
}

// reload puts synchronous_standby_names in force. Whether backends wait is the checkpointer's to say, and whom a WAL sender
// waits for is in its own copy of the configuration: both come later.
func (d *database) reload(names []string) {
	d.names = slices.Clone(names)
	d.w.namesInForce(d.w.top(), d.m.group, d.w.record(d.m.group))
	wait := len(names) > 0
	start := d.start
	flag := func() {
		if d.start != start || (len(d.names) > 0) != wait {
			return
		}
		if wait {
			d.waitFlag = true
			return
		}
		d.waitFlag = false
		waiting := d.waiting
		d.waiting = nil
		for _, x := range waiting {
			x.e.waits = false
			d.w.released(d, x.e)
			x.done(committed)
		}
	}
	d.p.after(d.checkpointer(), flag)
	for _, s := range d.senders {
		d.p.after(d.w.between(0, 30*time.Millisecond), func() {
			if s.open {
				s.names = d.names
				d.release(s) // nudged
			}
		})
	}
}

// checkpointer is how long it takes to notice a reload.
func (d *database) checkpointer() time.Duration {
	wait := d.w.between(time.Millisecond, 60*time.Millisecond)
	if d.frozen > d.w.now {
		wait += time.Duration(d.frozen - d.w.now)
	}
	return wait
}
