package fake

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// Database is the driver of one member.
type Database struct{ d *directory }

var _ driver.Database = (*Database)(nil)

// lock takes the network's lock; the returned function lets everything flow and gives it back.
func (db *Database) lock() (*directory, func()) {
	db.d.net.mu.Lock()
	return db.d, func() {
		db.d.net.settle()
		db.d.net.mu.Unlock()
	}
}

// Upstream is how others follow the member.
func (db *Database) Upstream() driver.Upstream {
	return driver.Upstream{Member: db.d.member, Host: string(db.d.member), Port: 5432}
}

// Dead gives a channel that is closed when the running server has ended.
func (db *Database) Dead() <-chan struct{} {
	d, done := db.lock()
	defer done()
	if d.running {
		return d.dead
	}
	c := make(chan struct{})
	close(c)
	return c
}

// Observe looks.
func (db *Database) Observe(ctx context.Context) (driver.Observation, error) {
	d, done := db.lock()
	defer done()
	o := driver.Observation{Directory: d.directory(), FreeBytes: 1 << 40, Running: d.running}
	if !d.running {
		if d.kind != "" {
			o.SystemID, o.Timeline, o.Flushed, o.Replayed = d.system, d.timeline(), d.position(), d.position()
		}
		return o, nil
	}
	if d.frozen {
		_ = d.net.wait(ctx, func() bool { return !d.frozen })
		if d.frozen {
			return o, nil
		}
	}
	o.Answering, o.StartTime, o.InRecovery, o.Timeline, o.SystemID = true, d.started, d.recovering, d.timeline(), d.system
	o.Flushed, o.Replayed = d.position(), d.position()
	o.HighestSeen = d.highest()
	o.SyncNames = slices.Clone(d.sync)
	o.MaxConnections = 100
	if d.recovering && d.upstream != nil {
		o.Upstream, o.Streaming = *d.upstream, d.source() != nil
	}
	for unit, g := range d.gates {
		o.Gates = append(o.Gates, driver.Gate{Unit: unit, Ownership: g.ownership, Open: g.open})
	}
	slices.SortFunc(o.Gates, func(a, b driver.Gate) int { return strings.Compare(string(a.Unit), string(b.Unit)) })
	o.Followers = d.followers()
	o.WaitingCommits = len(d.waiters)
	for _, w := range d.waiters {
		o.OldestWait = max(o.OldestWait, time.Since(w.since))
	}
	return o, nil
}

func (d *directory) directory() driver.Directory {
	if d.kind == "" {
		return driver.Empty
	}
	return d.kind
}

// answers waits until the server answers, as a session does.
func (d *directory) answers(ctx context.Context) error {
	if !d.running {
		return errs.New(errs.Unavailable, "the database of %s is not running", d.member)
	}
	if err := d.net.wait(ctx, func() bool { return !d.frozen || !d.running }); err != nil || !d.running {
		return errs.New(errs.Unavailable, "the database of %s does not answer", d.member)
	}
	return nil
}

// Create makes a new closed owner's directory.
func (db *Database) Create(context.Context) error {
	d, done := db.lock()
	defer done()
	if d.kind != "" {
		return nil
	}
	d.kind, d.system, d.history, d.log, d.slots = driver.Primary, d.net.newSystem(), []span{{timeline: 1}}, nil, map[estate.MemberID]bool{}
	d.append(entry{})
	return nil
}

// Start starts the server as the directory says.
func (db *Database) Start(_ context.Context, life estate.Life) error {
	d, done := db.lock()
	defer done()
	switch {
	case d.kind == "":
		return errs.New(errs.NotFound, "cannot start %s: it holds no database", d.member)
	case d.running:
		d.life = life
	default:
		d.start(life)
	}
	return nil
}

// Stop ends the server.
func (db *Database) Stop(_ context.Context, immediate bool) error {
	d, done := db.lock()
	defer done()
	if d.running && !immediate && !d.recovering {
		d.append(entry{})
		d.net.settle()
	}
	d.end(true)
	return nil
}

// Open inserts guard rows.
func (db *Database) Open(ctx context.Context, ownership estate.Ownership, _ estate.MemberID, units []estate.UnitID) error {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return err
	}
	if d.recovering {
		return errs.Refuse("I1", "cannot open %s: it is a copy", d.member)
	}
	again := len(units) > 0
	for _, u := range units {
		g := d.gates[u]
		again = again && g != nil && g.open && g.ownership == ownership
	}
	if again {
		return nil
	}
	if seen := d.highest(); ownership.Compare(seen) <= 0 || ownership.Conflicts(seen) {
		return errs.Refuse("I1", "cannot open %s at %s: %s was seen here", d.member, ownership, seen)
	}
	d.endWaiters(units)
	d.append(entry{seen: true, ownership: ownership})
	for _, u := range units {
		d.gates[u] = &gate{ownership: ownership, open: true}
	}
	return nil
}

// Close marks guard rows closed.
func (db *Database) Close(ctx context.Context, units []estate.UnitID) error {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return err
	}
	for _, u := range units {
		if g := d.gates[u]; g != nil {
			g.open = false
		}
	}
	return nil
}

// Drain ends what is in flight and gives the fence.
func (db *Database) Drain(ctx context.Context, units []estate.UnitID) (estate.LSN, error) {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return 0, err
	}
	for _, u := range units {
		if g := d.gates[u]; g != nil && g.open {
			return 0, errs.Refuse("I9", "cannot drain %s: unit %s is open; close it first", d.member, u)
		}
	}
	d.endWaiters(units)
	return d.append(entry{}).end, nil
}

// endWaiters ends the commits of the units that wait: their clients do not know.
func (d *directory) endWaiters(units []estate.UnitID) {
	d.waiters = slices.DeleteFunc(d.waiters, func(w *waiter) bool {
		if slices.Contains(units, w.unit) {
			w.outcome = lostConnection
			return true
		}
		return false
	})
}

// Lease lets plain reads pass.
func (db *Database) Lease(ctx context.Context, units []estate.UnitID, duration time.Duration) error {
	d, done := db.lock()
	defer done()
	until := time.Now().Add(duration)
	if err := d.answers(ctx); err != nil {
		return err
	}
	for _, u := range units {
		if g := d.gates[u]; g != nil {
			g.lease = until
		}
	}
	return nil
}

func (d *directory) checkNames(names []string) error {
	if d.kind != driver.Primary {
		return errs.Refuse("I2", "%s is a copy: only an owner has an in-sync set", d.member)
	}
	for i, n := range names {
		if _, err := estate.ParseLife(n); err != nil {
			return errs.New(errs.Invalid, "in-sync name %q is not the name of a member's life", n)
		}
		if slices.Contains(names[:i], n) {
			return errs.Refuse("I2", "in-sync name %q is listed twice", n)
		}
	}
	return nil
}

// Shrink puts the names in force.
func (db *Database) Shrink(ctx context.Context, names []string) error {
	d, done := db.lock()
	defer done()
	if err := d.checkNames(names); err != nil {
		return err
	}
	if err := d.answers(ctx); err != nil {
		return err
	}
	d.sync = slices.Clone(names)
	return nil
}

// Grow puts the names in force where all of them acknowledge.
func (db *Database) Grow(ctx context.Context, names []string, candidate string) (driver.Grown, error) {
	d, done := db.lock()
	defer done()
	if err := d.checkNames(names); err != nil {
		return driver.Grown{}, err
	}
	if !slices.Contains(names, candidate) {
		return driver.Grown{}, errs.New(errs.Invalid, "candidate %s is not among the names %v", candidate, names)
	}
	if err := d.answers(ctx); err != nil {
		return driver.Grown{}, err
	}
	mark := d.append(entry{}).end
	d.net.settle()
	for _, n := range names {
		if f, ok := d.follower(n); !ok || f.Flushed < mark {
			return driver.Grown{}, errs.New(errs.Unavailable, "%s does not acknowledge; the former set is in force", n)
		}
	}
	d.sync = slices.Clone(names)
	return driver.Grown{Mark: mark}, nil
}

// Sever cuts the source.
func (db *Database) Sever(ctx context.Context) (estate.LSN, error) {
	d, done := db.lock()
	defer done()
	if d.kind != driver.Standby {
		return 0, errs.Refuse("I4", "cannot sever %s: its directory is not a copy's", d.member)
	}
	if err := d.answers(ctx); err != nil {
		return 0, err
	}
	d.upstream = nil
	return d.position(), nil
}

// WaitReplayed waits.
func (db *Database) WaitReplayed(ctx context.Context, lsn estate.LSN) error {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return err
	}
	if err := d.net.wait(ctx, func() bool { return d.position() >= lsn || !d.running }); err != nil || !d.running {
		return errs.New(errs.Unavailable, "%s has not replayed up to %s", d.member, lsn)
	}
	return nil
}

// Promote makes a severed copy writable.
func (db *Database) Promote(ctx context.Context) error {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return err
	}
	if !d.recovering {
		return nil
	}
	if d.upstream != nil {
		return errs.Refuse("I4", "cannot promote %s: it is not severed from its upstream", d.member)
	}
	d.history[len(d.history)-1].end = d.position()
	d.history = append(d.history, span{timeline: d.timeline() + 1})
	d.kind, d.recovering, d.gates, d.sync = driver.Primary, false, map[estate.UnitID]*gate{}, nil
	d.append(entry{})
	return nil
}

// Follow makes a copy follow.
func (db *Database) Follow(_ context.Context, upstream driver.Upstream, life estate.Life) error {
	d, done := db.lock()
	defer done()
	switch d.directory() {
	case driver.Empty:
		return errs.New(errs.NotFound, "cannot make %s follow %s: it holds no database", d.member, upstream.Member)
	case driver.Primary:
		return errs.Refuse("I6", "cannot make %s follow %s: its directory is an owner's", d.member, upstream.Member)
	case driver.Standby:
	}
	if up := d.net.members[upstream.Member]; up != nil && up.running && !up.frozen {
		if up.system != d.system {
			return errs.Refuse("I6", "%s and %s are not copies of one database", d.member, upstream.Member)
		}
		if at, ahead := forkOf(d, up); ahead {
			return errs.Refuse("I12", "cannot make %s follow %s: it has log beyond %s", d.member, upstream.Member, at)
		}
	}
	d.upstream = &upstream
	if d.running {
		d.life = life
	} else {
		d.start(life)
	}
	return nil
}

// successor gives a server to compare with or copy from.
func (d *directory) successor(up driver.Upstream) (*directory, error) {
	s := d.net.members[up.Member]
	if s == nil || !s.running || s.frozen || d.net.cut[[2]estate.MemberID{s.member, d.member}] {
		return nil, errs.New(errs.Unavailable, "cannot reach %s", up.Member)
	}
	if d.running {
		return nil, errs.New(errs.Conflict, "the server of %s runs: stop it first", d.member)
	}
	return s, nil
}

// Diverged lists what a stopped former owner has beyond its successor.
func (db *Database) Diverged(_ context.Context, successor driver.Upstream) (driver.Diverged, error) {
	d, done := db.lock()
	defer done()
	s, err := d.successor(successor)
	if err != nil {
		return driver.Diverged{}, err
	}
	if d.kind != driver.Primary {
		return driver.Diverged{}, errs.Refuse("I6", "%s is not an owner's directory", d.member)
	}
	if s.system != d.system {
		return driver.Diverged{}, errs.Refuse("I6", "%s and %s are not copies of one database", d.member, successor.Member)
	}
	if s.timeline() == d.timeline() {
		return driver.Diverged{}, errs.New(errs.Unavailable, "%s is not promoted", successor.Member)
	}
	at, _ := forkOf(d, s)
	out := driver.Diverged{From: at, Until: max(at, d.position())}
	for _, e := range d.log {
		if e.end > at && e.key != "" {
			out.Transactions = append(out.Transactions, driver.DivergedTransaction{
				Xid: e.xid, Commit: e.end - entrySize, Unit: e.unit, Caller: "fake", RoutingKey: "fake", Key: e.key, Accounts: []string{"of-" + e.key},
				Amount: strconv.FormatInt(e.amount, 10), At: e.at, Settled: slices.ContainsFunc(s.log, func(o entry) bool { return o.key == e.key }),
			})
		}
	}
	return out, nil
}

// Rewind turns the directory into a standby of the successor.
func (db *Database) Rewind(_ context.Context, successor driver.Upstream, progress driver.Progress) error {
	d, done := db.lock()
	defer done()
	s, err := d.successor(successor)
	if err != nil {
		return err
	}
	if d.kind == "" || s.system != d.system || d.kind == driver.Primary && s.timeline() == d.timeline() {
		return errs.Refuse("I6", "%s cannot be rewound onto %s: copy it anew", d.member, successor.Member)
	}
	d.copy(s, successor, progress)
	return nil
}

// Reinitialise replaces the directory by a copy of the upstream.
func (db *Database) Reinitialise(_ context.Context, upstream driver.Upstream, progress driver.Progress) error {
	d, done := db.lock()
	defer done()
	s, err := d.successor(upstream)
	if err != nil {
		return err
	}
	if !s.slots[d.member] {
		return errs.New(errs.Unavailable, "%s has no slot for %s", upstream.Member, d.member)
	}
	d.copy(s, upstream, progress)
	return nil
}

func (d *directory) copy(s *directory, up driver.Upstream, progress driver.Progress) {
	d.kind, d.system, d.upstream, d.slots = driver.Standby, s.system, &up, map[estate.MemberID]bool{}
	d.log, d.history, d.quarantine = slices.Clone(s.log), slices.Clone(s.history), maps.Clone(s.quarantine)
	if progress != nil {
		progress("copying", 1, 1)
	}
}

// Retain answers, and keeps everything.
func (db *Database) Retain(ctx context.Context, _ []estate.UnitID, _ time.Duration) error {
	d, done := db.lock()
	defer done()
	return d.answers(ctx)
}

// Quarantine puts units under judgement. What was judged is not kept: the fake's own applications look at no verdict.
func (db *Database) Quarantine(ctx context.Context, units []estate.UnitID, began estate.Ownership) error {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return err
	}
	if d.quarantine == nil {
		d.quarantine = map[estate.UnitID]estate.Ownership{}
	}
	for _, u := range units {
		d.quarantine[u] = began
	}
	return nil
}

// EndQuarantine takes units out.
func (db *Database) EndQuarantine(ctx context.Context, units []estate.UnitID) error {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return err
	}
	for _, u := range units {
		delete(d.quarantine, u)
	}
	return nil
}

// Judge finds the accounts that are touched inconsistent, and all others verified. It runs no query.
func (db *Database) Judge(ctx context.Context, j driver.Judgement) (driver.Judged, error) {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return driver.Judged{}, err
	}
	if j.Query == "" {
		return driver.Judged{}, errs.New(errs.Invalid, "cannot judge the accounts of %s: there is no verification query", j.Units)
	}
	for _, u := range j.Units {
		if began, ok := d.quarantine[u]; !ok || began != j.Quarantine {
			return driver.Judged{}, errs.New(errs.Conflict, "%s is not in the quarantine of %s", u, j.Quarantine)
		}
	}
	var out driver.Judged
	bad := map[string]bool{}
	for _, a := range j.Touched {
		bad[a] = true
	}
	for _, e := range d.log {
		switch account := "of-" + e.key; {
		case e.key == "":
		case bad[account]:
			out.Inconsistent++
			out.Accounts = append(out.Accounts, account)
		default:
			out.Verified++
		}
	}
	return out, nil
}

// Missing compares keys with what was recorded.
func (db *Database) Missing(ctx context.Context, keys []driver.Key) ([]int, error) {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return nil, err
	}
	var missing []int
	for i, k := range keys {
		if !slices.ContainsFunc(d.log, func(e entry) bool { return e.key == k.Key }) {
			missing = append(missing, i)
		}
	}
	return missing, nil
}

// Records gives what was recorded, once an entry behind it is acknowledged by all of the in-sync set.
func (db *Database) Records(ctx context.Context, keys []driver.Key) ([]driver.Record, error) {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return nil, err
	}
	if d.recovering {
		return nil, errs.New(errs.Unavailable, "%s takes no barrier", d.member)
	}
	var found []driver.Record
	for i, k := range keys {
		if at := slices.IndexFunc(d.log, func(e entry) bool { return e.key == k.Key && e.key != "" }); at >= 0 {
			found = append(found, driver.Record{Index: i, Status: 200, Amount: strconv.FormatInt(d.log[at].amount, 10)})
		}
	}
	w := &waiter{at: d.append(entry{}).end, since: time.Now()}
	d.waiters = append(d.waiters, w)
	d.net.settle()
	if err := d.net.wait(ctx, func() bool { return w.outcome != nil }); err != nil {
		return nil, errs.New(errs.Unavailable, "the barrier of %s was not acknowledged in time", d.member)
	}
	return found, w.outcome()
}

// Newest is the time of the newest record.
func (db *Database) Newest(ctx context.Context, made []estate.Ownership) (time.Time, error) {
	d, done := db.lock()
	defer done()
	var newest time.Time
	if err := d.answers(ctx); err != nil {
		return newest, err
	}
	for _, e := range d.log {
		if e.key != "" && (len(made) == 0 || slices.Contains(made, e.ownership)) {
			newest = e.at
		}
	}
	return newest, nil
}

// Tally sums up what was recorded.
func (db *Database) Tally(ctx context.Context, units []estate.UnitID) ([]driver.Tally, error) {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return nil, err
	}
	out := make([]driver.Tally, 0, len(units))
	for _, u := range units {
		t := driver.Tally{Unit: u, Position: d.position(), At: time.Now()}
		var amount int64
		for _, e := range d.log {
			if e.key != "" && e.unit == u {
				t.Transactions++
				amount += e.amount
			}
		}
		t.Amount = strconv.FormatInt(amount, 10)
		out = append(out, t)
	}
	return out, nil
}

// Check finds nothing.
func (db *Database) Check(ctx context.Context) ([]driver.Finding, error) {
	d, done := db.lock()
	defer done()
	return nil, d.answers(ctx)
}

// EnsureFollower makes a slot.
func (db *Database) EnsureFollower(ctx context.Context, member estate.MemberID) error {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return err
	}
	d.slots[member] = true
	return nil
}

// Strays lists slots.
func (db *Database) Strays(ctx context.Context, members []estate.MemberID) ([]string, error) {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return nil, err
	}
	var strays []string
	for m := range d.slots {
		if !slices.Contains(members, m) {
			strays = append(strays, string(m))
		}
	}
	slices.Sort(strays)
	return strays, nil
}

// ForgetFollower drops a slot.
func (db *Database) ForgetFollower(ctx context.Context, stray string) error {
	d, done := db.lock()
	defer done()
	if err := d.answers(ctx); err != nil {
		return err
	}
	delete(d.slots, estate.MemberID(stray))
	return nil
}

// Release does nothing: the fake holds no session.
func (db *Database) Release() {}
