package postgres

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

const (
	// politeReceiver is how long the WAL receiver may take to end by itself before it is told to.
	politeReceiver = 15 * time.Millisecond
	// politeReplay is how long replay may take to finish before queries that hold it up are ended.
	politeReplay = 40 * time.Millisecond
)

// Sever cuts the source: nothing that this copy flushes afterwards came from its upstream, over any restart (I4).
//
// The empty upstream is on disk first, and so is the missing password: a WAL receiver that the startup process asks for in
// the instant before it reads the new configuration finds no way in. Then the running receiver has to be gone as a process.
func (d *Database) Sever(ctx context.Context) (estate.LSN, error) {
	done, err := d.begin(ctx, "sever")
	if err != nil {
		return 0, err
	}
	defer done()
	if d.directory() != driver.Standby {
		return 0, errs.Refuse("I4", "cannot sever %s: its directory is not a copy's", d.o.Member)
	}
	p := d.attach()
	if p == nil {
		return 0, errs.New(errs.Unavailable, "cannot sever %s: its server is not running, so what it has flushed is not known; start it first", d.o.Member)
	}
	if err := d.cut(ctx, p); err != nil {
		return 0, err
	}
	var lsn estate.LSN
	err = d.session("control").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		err := poll(ctx, func() (bool, error) {
			var conninfo string
			if err := conn.QueryRow(ctx, "select coalesce(current_setting('primary_conninfo'), '')").Scan(&conninfo); err != nil || !isCut(conninfo, nil) {
				return false, err
			}
			var received, replayed *string
			var waits string
			err := conn.QueryRow(ctx, `select pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text,
				coalesce((select wait_event from pg_stat_get_activity(null) where backend_type = 'startup'), '')`).Scan(&received, &replayed, &waits)
			if err != nil {
				return false, err
			}
			lsn = max(position(received), position(replayed))
			// A copy that never streamed in this life knows what it has flushed only when it has replayed all of it.
			return received != nil || waits == "RecoveryRetrieveRetryInterval" || waits == "RecoveryWalStream", nil
		})
		return err
	})
	if err != nil {
		return 0, failed(err, "%s is severed, but what it has flushed cannot be read", d.o.Member)
	}
	// Seen again after everybody has read the configuration: a receiver that slipped in between has no password and ends.
	if err := d.staysCut(ctx, p); err != nil {
		return 0, err
	}
	return lsn, nil
}

// receiverGone returns when the server has no WAL receiver process. One that does not end by itself, because replay is held
// up and does not look at the configuration, is ended.
func (d *Database) receiverGone(ctx context.Context, p *process) error {
	began := time.Now()
	err := poll(ctx, func() (bool, error) {
		gone := true
		own := title(p.pid)
		for _, pid := range children(p.pid) {
			switch t := title(pid); {
			case strings.Contains(t, "walreceiver"):
				gone = false
				if time.Since(began) > politeReceiver {
					_ = syscall.Kill(pid, syscall.SIGTERM) // it may be gone already
				}
			case t == own && isServerProcess(pid, inode(d.o.DataDir)): // just forked, not yet named
				gone = false
			}
		}
		select {
		case <-p.dead:
			return false, errs.New(errs.Unavailable, "the server of %s ended while it was severed; start it and sever it again", d.o.Member)
		default:
		}
		return gone, nil
	})
	return failed(err, "cannot sever %s: its WAL receiver does not end", d.o.Member)
}

// WaitReplayed returns when the copy has replayed up to the position.
func (d *Database) WaitReplayed(ctx context.Context, lsn estate.LSN) error {
	began := time.Now()
	return d.session("fence").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		err := poll(ctx, func() (bool, error) {
			var done bool
			if err := conn.QueryRow(ctx, "select coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false) or not pg_is_in_recovery()", lsn.String()).Scan(&done); err != nil || done {
				return done, err
			}
			if time.Since(began) > politeReplay {
				return false, d.endConflicts(ctx, conn)
			}
			return false, nil
		})
		return failed(err, "%s has not replayed up to %s", d.o.Member, lsn)
	})
}

// Promote makes a severed copy writable. It comes up closed: the guard rows are unlogged and end with recovery (I1).
func (d *Database) Promote(ctx context.Context) error {
	done, err := d.begin(ctx, "promote")
	if err != nil {
		return err
	}
	defer done()
	p := d.attach()
	if p == nil {
		return errs.New(errs.Unavailable, "cannot promote %s: its server is not running; start it first", d.o.Member)
	}
	return d.session("control").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var recovering, paused bool
		var conninfo, names string
		err := conn.QueryRow(ctx, `select pg_is_in_recovery(), case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end,
			current_setting('primary_conninfo'), current_setting('synchronous_standby_names')`).Scan(&recovering, &paused, &conninfo, &names)
		if err != nil {
			return failed(err, "cannot promote %s", d.o.Member)
		}
		if !recovering {
			return d.promoted(ctx, conn)
		}
		s, own := d.steered(d.o.DataDir)
		if !own || !isCut(conninfo, s.upstream) {
			return errs.Refuse("I4", "cannot promote %s: it is not severed from its upstream", d.o.Member)
		}
		if err := d.staysCut(ctx, p); err != nil {
			return err
		}
		if names != "" || len(s.sync) > 0 {
			if err := d.setNames(steering{life: s.life}); err != nil {
				return err
			}
		}
		if paused {
			if _, err := conn.Exec(ctx, "select pg_wal_replay_resume()"); err != nil {
				return failed(err, "cannot resume replay on %s", d.o.Member)
			}
		}
		if err := d.triggerPromotion(ctx, conn); err != nil {
			return err
		}
		return d.promoted(ctx, conn)
	})
}

func (d *Database) triggerPromotion(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "select pg_promote(false)"); err != nil && sqlState(err) != "55000" { // promoted meanwhile
		return failed(err, "cannot promote %s", d.o.Member)
	}
	began := time.Now()
	err := poll(ctx, func() (bool, error) {
		var recovering bool
		if err := conn.QueryRow(ctx, "select pg_is_in_recovery()").Scan(&recovering); err != nil || !recovering {
			return true, err
		}
		if time.Since(began) > politeReplay {
			return false, d.endConflicts(ctx, conn)
		}
		return false, nil
	})
	return failed(err, "%s is not promoted yet", d.o.Member)
}

// endConflicts ends queries of others that replay waits for (H3): readers whose snapshot, lock or pin is in its way.
func (d *Database) endConflicts(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `
		with startup as (select pid, wait_event_type as type, wait_event as event from pg_stat_get_activity(null) where backend_type = 'startup')
		select pg_terminate_backend(a.pid) from startup s, pg_stat_get_activity(null) a
		where a.backend_type = 'client backend' and a.pid <> pg_backend_pid() and a.application_name not like 'perdure agent %'
		and (s.event in ('RecoveryConflictSnapshot', 'RecoveryConflictTablespace') and a.backend_xmin is not null
			or s.event = 'BufferPin' and a.state <> 'idle'
			or s.type = 'Lock' and a.pid = any (pg_blocking_pids(s.pid)))`)
	return failed(err, "cannot end the queries that hold up replay on %s", d.o.Member)
}

// Follow makes a copy's directory follow the upstream under the life's name, and starts the server where it does not run.
// A copy that has more than the upstream's history holds is refused: it would wait for ever without a word (I12).
func (d *Database) Follow(ctx context.Context, upstream driver.Upstream, life estate.Life) error {
	done, err := d.begin(ctx, "follow with")
	if err != nil {
		return err
	}
	defer done()
	kind := d.directory()
	if err := d.startable(kind); err != nil {
		return err
	}
	if kind == driver.Primary {
		return errs.Refuse("I6", "cannot make %s follow %s: its directory is an owner's; rewind it or copy it anew", d.o.Member, upstream.Member)
	}
	address, err := d.resolve(ctx, upstream)
	if err != nil {
		return err
	}
	if err := d.comparable(ctx, upstream); err != nil {
		return err
	}
	if err := d.writePass(); err != nil {
		return err
	}
	next := steering{life: life.String(), upstream: &upstream, address: address}
	if err := d.steer(d.o.DataDir, next, true); err != nil {
		return err
	}
	p := d.attach()
	if p == nil {
		return d.start(ctx, life)
	}
	if err := p.reload(); err != nil {
		return err
	}
	return d.session("control").do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		want := d.conninfo(upstream, address, life.String())
		err := poll(ctx, func() (bool, error) {
			var now string
			err := conn.QueryRow(ctx, "select current_setting('primary_conninfo')").Scan(&now)
			return now == want, err
		})
		return failed(err, "%s has not taken up its new upstream %s yet", d.o.Member, upstream.Member)
	})
}

// comparable refuses an upstream of another database, and one whose history leaves ours before what we have (I12).
// Where one of the two does not answer nothing is refused: the copy follows when it can, or is found not to stream.
func (d *Database) comparable(ctx context.Context, upstream driver.Upstream) error {
	theirs, err := d.askHistory(ctx, upstream)
	reached := err == nil
	ours, known := d.whereWeAre(ctx)
	if !reached || !known {
		return nil
	}
	if ours.SystemID != theirs.SystemID {
		return errs.Refuse("I6", "cannot make %s follow %s: they are not copies of one database (%s and %s); copy it anew", d.o.Member, upstream.Member, ours.SystemID, theirs.SystemID)
	}
	at, ok := fork(ours.Spans, theirs.Spans)
	// What was received but ends in half a record counts for nothing: only what was replayed cannot be taken back.
	if !ok || at != 0 && ours.Position > at {
		return errs.Refuse("I12", "cannot make %s follow %s: it has %d bytes of log beyond %s, where the histories part; rewind it", d.o.Member, upstream.Member, ours.Position-at, at)
	}
	return nil
}

// whereWeAre gives our own history and what we have replayed, from the server or, where it is stopped, from its control file.
func (d *Database) whereWeAre(ctx context.Context) (h history, known bool) {
	ctx, cancel := context.WithTimeout(ctx, upstreamWait)
	defer cancel()
	if d.attach() != nil {
		o, err := d.Observe(ctx)
		if err != nil || !o.Answering {
			return history{}, false
		}
		h = history{SystemID: o.SystemID, Timeline: o.Timeline, Position: o.Replayed}
	} else {
		h.SystemID, h.Timeline, h.Position = d.control(ctx)
	}
	h.Timeline = newestTimeline(filepath.Join(d.o.DataDir, "pg_wal"), h.Position, h.Timeline)
	spans, err := d.ownHistory(d.o.DataDir, h.Timeline)
	h.Spans = spans
	return h, err == nil && h.SystemID != "" && h.Position != 0
}

// newestTimeline gives the timeline that the log at the position was received on. A copy's control file still names the former
// timeline until its next checkpoint, but the file that holds the position bears the number of the history it came from.
func newestTimeline(walDir string, position estate.LSN, control uint32) uint32 {
	entries, err := os.ReadDir(walDir)
	if err != nil || position == 0 {
		return control
	}
	newest := control
	for _, e := range entries {
		name := e.Name()
		if len(name) != 24 {
			continue
		}
		timeline, err1 := strconv.ParseUint(name[:8], 16, 32)
		high, err2 := strconv.ParseUint(name[8:16], 16, 32)
		low, err3 := strconv.ParseUint(name[16:], 16, 32)
		info, err4 := e.Info()
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil || info.Size() == 0 {
			continue
		}
		begin := estate.LSN(high<<32 + low*uint64(info.Size()))
		if last := position - 1; last >= begin && last < begin+estate.LSN(info.Size()) {
			newest = max(newest, uint32(timeline))
		}
	}
	return newest
}

// ownHistory reads the history of a directory that is on the timeline.
func (d *Database) ownHistory(dir string, timeline uint32) ([]span, error) {
	var spans []span
	if timeline > 1 {
		text, err := os.ReadFile(filepath.Join(dir, "pg_wal", historyFile(timeline)))
		if err != nil {
			return nil, errs.New(errs.Unavailable, "cannot read the history of timeline %d: %w", timeline, err)
		}
		if spans, err = parseHistory(string(text)); err != nil {
			return nil, err
		}
	}
	return append(spans, span{Timeline: timeline}), nil
}
