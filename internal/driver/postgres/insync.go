package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

const (
	// proofBound is the longest a proof may hold commits up, putting the former set back included.
	proofBound = 2 * time.Second
	// nearEnough is how far behind a candidate may be when the proof begins: what is missing is added to the freeze.
	nearEnough = 4 << 20
	// ghostMember is the member that cannot exist: its name can acknowledge nothing.
	ghostMember = "perdure-ghost"
	// deadmanWait is when the server takes the proof back by itself: the agent may be frozen or dead.
	deadmanWait    = proofBound + 500*time.Millisecond
	deadmanPurpose = "deadman"
	// settleBound is how long a reload may take to be seen in the walsenders and the checkpointer.
	settleBound = 3 * time.Second
)

// pulse is one look at the walsenders and at the probe.
type pulse struct {
	Senders []sender
	Probe   string     // wait event of the probe's session
	Flushed estate.LSN // of this server
	Waiting int        // commits in wait event SyncRep
}

const pulseQuery = `
select coalesce((select jsonb_agg(jsonb_build_object('pid', w.pid, 'name', coalesce(a.application_name, ''), 'state', w.state, 'flushed', w.flush_lsn::text,
    'priority', w.sync_priority, 'slot', coalesce(s.slot_name::text, '')))
  from pg_stat_get_wal_senders() w left join pg_stat_get_activity(w.pid) a on true left join pg_get_replication_slots() s on s.active_pid = w.pid
  where w.state <> 'backup'), '[]')::text,
 coalesce((select wait_event from pg_stat_get_activity($1)), ''),
 pg_current_wal_flush_lsn()::text,
 (select count(*) from pg_stat_get_activity(null) where wait_event = 'SyncRep')::int`

func (d *Database) pulse(ctx context.Context, conn *pgx.Conn, probe uint32) (pulse, error) {
	var p pulse
	var senders, flushed string
	if err := conn.QueryRow(ctx, pulseQuery, int32(probe)).Scan(&senders, &p.Probe, &flushed, &p.Waiting); err != nil {
		return pulse{}, err
	}
	if err := json.Unmarshal([]byte(senders), &p.Senders); err != nil {
		return pulse{}, err
	}
	var err error
	p.Flushed, err = estate.ParseLSN(flushed)
	return p, err
}

// of gives the one walsender that is the member of that name: streaming, with its own slot, without a double (H6).
func (p pulse) of(name string) (sender, error) {
	var found []sender
	for _, s := range p.Senders {
		if strings.EqualFold(s.Name, name) {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 0:
		return sender{}, errs.New(errs.Unavailable, "%s is not connected", name)
	case len(found) > 1:
		return sender{}, errs.Refuse("I2", "%d followers call themselves %s: stop the one that is not the member", len(found), name)
	case !holdsSlot(found[0].Name, found[0].Slot):
		return sender{}, errs.Refuse("I2", "the follower that calls itself %s does not hold the slot of its member", name)
	case found[0].State != "streaming":
		return sender{}, errs.New(errs.Unavailable, "%s is not streaming yet (%s)", name, found[0].State)
	}
	return found[0], nil
}

// prioritised reports whether the walsenders of all names work with the new list, where the first name has priority first.
func (p pulse) prioritised(names []string, first int) bool {
	for i, n := range names {
		s, err := p.of(n)
		if err != nil || s.Priority != first+i {
			return false
		}
	}
	return true
}

// works reports whether every walsender of a member works with the names: listed ones in their place, others not at all.
func (p pulse) works(names []string) bool {
	for _, w := range p.Senders {
		want := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, w.Name) }) + 1
		if w.Priority != want && holdsSlot(w.Name, w.Slot) {
			return false
		}
	}
	return true
}

func (p pulse) flushed(names []string, at estate.LSN) bool {
	for _, n := range names {
		s, err := p.of(n)
		if err != nil || position(s.Flushed) < at {
			return false
		}
	}
	return true
}

// nudge writes and flushes a little WAL: a commit that waits is looked at again only when a copy acknowledges something new.
func nudge(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `select pg_logical_emit_message(true, 'perdure', 'nudge')`)
	return err
}

// setNames puts names in force without waiting. The first life of a listed member has priority 1.
func (d *Database) setNames(s steering) error {
	p := d.running()
	if p == nil {
		return errs.New(errs.Unavailable, "the database of %s is not running", d.o.Member)
	}
	if err := d.steer(d.o.DataDir, s, false); err != nil {
		return err
	}
	return p.reload()
}

// ownedSteering gives the steering of a running owner; anything else has no in-sync set. A deadman that a killed agent
// left is ended first: it would put an old set in force some time later.
func (d *Database) ownedSteering(ctx context.Context) (steering, error) {
	if d.directory() != driver.Primary {
		return steering{}, errs.Refuse("I2", "%s is a copy: only an owner has an in-sync set", d.o.Member)
	}
	err := d.session("control").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return poll(ctx, func() (bool, error) {
			var left int
			err := conn.QueryRow(ctx, "select count(pg_terminate_backend(pid))::int from pg_stat_get_activity(null) where application_name = $1", sessionName(deadmanPurpose)).Scan(&left)
			return left == 0, err
		})
	})
	if err != nil {
		return steering{}, failed(err, "cannot change the in-sync set of %s", d.o.Member)
	}
	s, own := d.steered(d.o.DataDir)
	if !own {
		return steering{}, errs.Refuse("I6", "the configuration of %s was written by somebody else: restart the database through its agent", d.o.Member)
	}
	return s, nil
}

// Shrink puts the names in force. It returns when every walsender works with them and, for an empty set, when no commit waits any more.
func (d *Database) Shrink(ctx context.Context, names []string) error {
	done, err := d.begin(ctx, "shrink the in-sync set of")
	if err != nil {
		return err
	}
	defer done()
	if err := checkNames(names); err != nil {
		return err
	}
	s, err := d.ownedSteering(ctx)
	if err != nil {
		return err
	}
	return d.settle(ctx, steering{life: s.life, sync: names})
}

// settle puts a set in force and waits until it is.
func (d *Database) settle(ctx context.Context, s steering) error {
	ctx, cancel := context.WithTimeout(ctx, settleBound)
	defer cancel()
	if err := d.setNames(s); err != nil {
		return err
	}
	return d.session("control").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		nudged := time.Time{}
		err := poll(ctx, func() (bool, error) {
			var now string
			if err := conn.QueryRow(ctx, "select current_setting('synchronous_standby_names')").Scan(&now); err != nil {
				return false, err
			}
			if now != syncNames(s.sync) {
				return false, nil
			}
			p, err := d.pulse(ctx, conn, 0)
			if err != nil {
				return false, err
			}
			if !p.works(s.sync) {
				return false, nil
			}
			// The walsenders work with the new names; one new acknowledgement lets go whoever waited for the old ones.
			if time.Since(nudged) > 20*time.Millisecond {
				nudged = time.Now()
				if err := nudge(ctx, conn); err != nil {
					return false, err
				}
				if len(s.sync) > 0 {
					return true, nil
				}
			}
			return p.Waiting == 0, nil
		})
		if err == nil && len(s.sync) == 0 {
			err = d.commitsReturn(ctx, conn)
		}
		return failed(err, "cannot see the in-sync set %v of %s in force", s.sync, d.o.Member)
	})
}

// commitsReturn proves that commits wait for nobody, which the checkpointer decides, in its own time. Without this proof one
// that has read an empty set, and is slow to act on it, could still let commits go after a larger set was proven (H5).
func (d *Database) commitsReturn(ctx context.Context, control *pgx.Conn) error {
	return d.session("probe").do(ctx, func(ctx context.Context, probe *pgx.Conn) error {
		g := &growth{d: d, probe: probe, control: control}
		if _, err := probe.Exec(ctx, "set synchronous_commit = on"); err != nil {
			return err
		}
		if err := g.startProbe(ctx); err != nil {
			return err
		}
		select {
		case err := <-g.returned:
			return err
		case <-ctx.Done():
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleBound)
		defer cancel()
		err := d.session("ender").do(end, g.endProbe)
		if g.returned != nil {
			d.session("probe").conn = nil
		}
		return errors.Join(errs.New(errs.Unavailable, "commits still wait: the checkpointer has not taken up the empty set; try again"), err)
	})
}

// endProbe ends a probe that waits; a cancelled one would return as a success.
func (g *growth) endProbe(ctx context.Context, conn *pgx.Conn) error {
	if g.returned == nil {
		return nil
	}
	if _, err := conn.Exec(ctx, "select pg_terminate_backend($1)", int32(g.probe.PgConn().PID())); err != nil {
		return err
	}
	select {
	case <-g.returned:
		g.returned = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Grow proves that commits wait for the larger set (I2): with a member listed that cannot answer, a probe commit is seen to
// wait although every other member has acknowledged it, and acknowledged again something newer, so that its walsender has
// looked at the probe and not let it go. Then the impossible member is taken out and the probe returns.
func (d *Database) Grow(ctx context.Context, names []string, candidate string) (driver.Grown, error) {
	done, err := d.begin(ctx, "grow the in-sync set of")
	if err != nil {
		return driver.Grown{}, err
	}
	defer done()
	if err := checkNames(names); err != nil {
		return driver.Grown{}, err
	}
	if !slices.Contains(names, candidate) {
		return driver.Grown{}, errs.New(errs.Invalid, "candidate %s is not among the names %v", candidate, names)
	}
	s, err := d.ownedSteering(ctx)
	if err != nil {
		return driver.Grown{}, err
	}
	g := &growth{d: d, former: s, names: names, candidate: candidate, ghost: fmt.Sprintf("%s-%s.0", ghostMember, strings.ToLower(rand.Text()[:8]))}
	var grown driver.Grown
	err = d.session("control").do(ctx, func(ctx context.Context, control *pgx.Conn) error {
		if len(s.sync) == 0 {
			bound, cancel := context.WithTimeout(ctx, proofBound)
			defer cancel()
			if err := d.commitsReturn(bound, control); err != nil {
				return err
			}
		}
		return d.session("probe").do(ctx, func(ctx context.Context, probe *pgx.Conn) error {
			g.control, g.probe = control, probe
			var err error
			grown, err = g.prove(ctx)
			if g.returned != nil { // it hangs: the connection is not to be used again
				d.session("probe").conn = nil
			}
			return err
		})
	})
	if err != nil {
		return driver.Grown{}, failed(err, "cannot grow the in-sync set of %s by %s", d.o.Member, candidate)
	}
	return grown, nil
}

// growth is one proof under way.
type growth struct {
	d              *Database
	former         steering
	names          []string
	candidate      string
	ghost          string
	control, probe *pgx.Conn
	returned       chan error // the running probe's outcome, nil where none runs
	waited         bool       // the running probe was seen to wait
	deadman        *deadman
}

// ready refuses a proof that would only freeze commits.
func (g *growth) ready(ctx context.Context) error {
	p, err := g.d.pulse(ctx, g.control, 0)
	if err != nil {
		return err
	}
	for _, n := range g.names {
		s, err := p.of(n)
		if err != nil {
			return err
		}
		if position(s.Flushed) == 0 {
			return errs.New(errs.Unavailable, "%s has not acknowledged anything yet", n)
		}
		if behind := int64(p.Flushed) - int64(position(s.Flushed)); behind > nearEnough {
			return errs.New(errs.Unavailable, "%s is %d MiB behind: wait until it has caught up", n, behind>>20)
		}
	}
	return nil
}

// seeWaiting gives the mark: a position that all names have flushed while the probe was seen to wait for the impossible member.
func (g *growth) seeWaiting(ctx context.Context) (estate.LSN, error) {
	s := steering{life: g.former.life, former: g.former.sync, proving: true, sync: append([]string{g.ghost}, g.names...)}
	if err := g.d.setNames(s); err != nil {
		return 0, err
	}
	// The impossible member comes first, so every listed walsender's priority moves when it works with the new list.
	if err := g.until(ctx, func(p pulse) bool { return p.prioritised(g.names, 2) }); err != nil {
		return 0, notSeen(err, "the walsenders of %v did not take the new list up", g.names)
	}
	if err := g.startProbe(ctx); err != nil {
		return 0, err
	}
	var mark estate.LSN
	err := g.untilProbeWaits(ctx, func(p pulse) bool { mark = p.Flushed; return true })
	if err != nil {
		return 0, err
	}
	if err := g.untilProbeWaits(ctx, func(p pulse) bool { return p.flushed(g.names, mark) }); err != nil {
		return 0, err
	}
	// Each walsender answers one acknowledgement after the other: who has flushed what comes next has judged the probe before.
	if err := nudge(ctx, g.control); err != nil {
		return 0, err
	}
	var later estate.LSN
	if err := g.untilProbeWaits(ctx, func(p pulse) bool { later = p.Flushed; return true }); err != nil {
		return 0, err
	}
	if err := g.untilProbeWaits(ctx, func(p pulse) bool { return p.flushed(g.names, later) }); err != nil {
		return 0, err
	}
	return mark, g.untilProbeWaits(ctx, func(pulse) bool { return true })
}

// untilProbeWaits looks until the probe is in wait event SyncRep and the condition holds in the same look. Where a probe
// returns, commits do not wait: the checkpointer has not taken the list up, and another probe is sent.
func (g *growth) untilProbeWaits(ctx context.Context, ok func(pulse) bool) error {
	err := poll(ctx, func() (bool, error) {
		select {
		case err := <-g.returned:
			g.returned = nil
			if err != nil {
				return false, err
			}
			if g.waited || len(g.former.sync) > 0 {
				return false, errs.Refuse("I2", "a commit returned although a member is listed that cannot acknowledge")
			}
			return false, g.startProbe(ctx)
		default:
		}
		p, err := g.d.pulse(ctx, g.control, g.probe.PgConn().PID())
		if err != nil {
			return false, err
		}
		if p.Probe != "SyncRep" {
			return false, nil
		}
		g.waited = true
		for _, n := range g.names {
			if _, err := p.of(n); err != nil {
				return false, err
			}
		}
		return ok(p), nil
	})
	return notSeen(err, "no commit was seen to wait: the checkpointer did not take the new list up, or a member does not acknowledge")
}

func (g *growth) until(ctx context.Context, ok func(pulse) bool) error {
	return poll(ctx, func() (bool, error) {
		p, err := g.d.pulse(ctx, g.control, 0)
		if err != nil {
			return false, err
		}
		for _, n := range g.names {
			if _, err := p.of(n); err != nil {
				return false, err
			}
		}
		return ok(p), nil
	})
}

func notSeen(err error, format string, args ...any) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errs.New(errs.Unavailable, "%s within %s; the former set is in force again", fmt.Sprintf(format, args...), proofBound)
	}
	return err
}

// startProbe commits one transaction on the probe's session and reports its return.
func (g *growth) startProbe(ctx context.Context) error {
	if g.probe.IsClosed() {
		return errs.New(errs.Unavailable, "the probe's session ended")
	}
	g.returned = make(chan error, 1)
	returned := g.returned
	// The probe must not be cancelled by the bound: a cancelled wait returns as a success. putBack ends it.
	go func() {
		_, err := g.probe.Exec(context.WithoutCancel(ctx), `select pg_logical_emit_message(true, 'perdure', 'probe')`)
		returned <- err
	}()
	return nil
}

// letGo takes the impossible member out and returns when the probe did.
func (g *growth) letGo(ctx context.Context) error {
	if err := g.deadman.disarm(ctx, g.control); err != nil {
		return err
	}
	if s, own := g.d.steered(g.d.o.DataDir); !own || !slices.Contains(s.sync, g.ghost) {
		return errs.New(errs.Unavailable, "the proof took so long that the server took it back")
	}
	if err := g.d.setNames(steering{life: g.former.life, sync: g.names}); err != nil {
		return err
	}
	nudged := time.Time{}
	err := poll(ctx, func() (bool, error) {
		select {
		case err := <-g.returned:
			g.returned = nil
			return true, err
		default:
		}
		p, err := g.d.pulse(ctx, g.control, 0)
		if err != nil {
			return false, err
		}
		if p.prioritised(g.names, 1) && time.Since(nudged) > 20*time.Millisecond {
			nudged = time.Now()
			return false, nudge(ctx, g.control)
		}
		return false, nil
	})
	return notSeen(err, "the members %v did not acknowledge", g.names)
}

// putBack puts the former set in force, also when the caller's time is over, and ends a probe that still waits.
// It works in another session: the one of the proof is closed where its time ended in the middle of a look.
func (g *growth) putBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleBound)
	defer cancel()
	return g.d.session("ender").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		if err := g.deadman.disarm(ctx, conn); err != nil {
			return err
		}
		if err := g.d.setNames(steering{life: g.former.life, sync: g.former.sync}); err != nil {
			return err
		}
		if err := g.endProbe(ctx, conn); err != nil {
			return err
		}
		return poll(ctx, func() (bool, error) {
			p, err := g.d.pulse(ctx, conn, 0)
			if err != nil || !p.works(g.former.sync) {
				return false, err
			}
			return true, nudge(ctx, conn)
		})
	})
}

// deadman is a session that holds, in its server's hands already, what undoes a proof: a sleep, then the former set, then a
// reload. It works with the agent frozen or dead, so a proof holds commits up for a bounded time whatever happens (I15).
type deadman struct {
	pid  uint32
	conn net.Conn
	off  bool
}

func (d *Database) armDeadman(ctx context.Context, former []string) (*deadman, error) {
	conn, err := d.connect(ctx, d.socketDir(), d.o.Database, deadmanPurpose)
	if err != nil {
		return nil, err
	}
	hijacked, err := conn.PgConn().Hijack()
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot prepare a proof: %w", err)
	}
	m := &deadman{pid: hijacked.PID, conn: hijacked.Conn}
	for _, sql := range []string{
		fmt.Sprintf("select pg_sleep(%g)", deadmanWait.Seconds()),
		"alter system set synchronous_standby_names = " + quoteSetting(syncNames(former)),
		"select pg_reload_conf()",
		// One new acknowledgement lets go whoever waited for the old names; local: this session waits for nobody.
		"select pg_sleep(0.05)", "select pg_logical_emit_message(true, 'perdure', 'nudge')",
	} {
		hijacked.Frontend.Send(&pgproto3.Query{String: sql})
	}
	if err := hijacked.Frontend.Flush(); err != nil {
		m.close()
		return nil, errs.New(errs.Unavailable, "cannot prepare a proof: %w", err)
	}
	return m, nil
}

// disarm returns when the session is gone; whether it had acted before shows in the configuration.
func (m *deadman) disarm(ctx context.Context, conn *pgx.Conn) error {
	if m.off {
		return nil
	}
	err := poll(ctx, func() (bool, error) {
		var there bool
		err := conn.QueryRow(ctx, "select coalesce((select pg_terminate_backend(pid) from pg_stat_get_activity(null) where pid = $1), false)", int32(m.pid)).Scan(&there)
		return !there, err
	})
	m.off = err == nil
	return err
}

func (m *deadman) close() { _ = m.conn.Close() }

// undoProof takes out the impossible member that a killed predecessor left in force: commits would wait for it for ever.
func (d *Database) undoProof() error {
	s, own := d.steered(d.o.DataDir)
	if !own || !s.proving || d.running() == nil {
		return nil
	}
	d.log.Warn("a proof was cut short: the former in-sync set is put back", "names", s.former)
	return d.setNames(steering{life: s.life, sync: s.former})
}
