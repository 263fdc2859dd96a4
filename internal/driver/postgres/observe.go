package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// look is everything but the gates in one statement: local reads, no lock, no wait for a copy (I16).
const look = `
with r as (select pg_is_in_recovery() as rec),
receiver as (select status, received_tli, extract(epoch from clock_timestamp() - last_msg_receipt_time)::float8 as age from pg_stat_wal_receiver),
senders as (
  select w.pid, coalesce(a.application_name, '') as name, w.state, w.sent_lsn::text as sent, w.flush_lsn::text as flushed, w.replay_lsn::text as replayed,
    w.sync_priority as priority, coalesce(w.reply_time::text, '') as heard, coalesce(s.slot_name::text, '') as slot
  from pg_stat_get_wal_senders() w
  left join pg_stat_get_activity(w.pid) a on true
  left join pg_get_replication_slots() s on s.active_pid = w.pid),
activity as (
  select pid, backend_type, wait_event, xact_start from pg_stat_get_activity(null))
select r.rec, pg_postmaster_start_time(),
  (case when r.rec then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) else pg_current_wal_flush_lsn() end)::text,
  (case when r.rec then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end)::text,
  case when r.rec then (select greatest(c.timeline_id, m.min_recovery_end_timeline, (select received_tli from receiver)) from pg_control_checkpoint() c, pg_control_recovery() m)
    else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int end,
  coalesce(current_setting('synchronous_standby_names'), ''), coalesce(current_setting('primary_conninfo'), ''), coalesce(current_setting('perdure.upstream', true), ''),
  coalesce((select status from receiver), ''), coalesce((select age from receiver), 0),
  coalesce((select jsonb_agg(to_jsonb(senders)) from senders), '[]')::text,
  coalesce((select jsonb_agg(jsonb_build_object('pid', pid, 'at', xact_start)) from activity where wait_event = 'SyncRep'), '[]')::text,
  coalesce((select extract(epoch from max(clock_timestamp() - xact_start))::float8 from activity
    where backend_type = 'client backend' and wait_event is distinct from 'SyncRep' and pid <> pg_backend_pid()), 0),
  (select count(*) from activity where backend_type = 'client backend')::int,
  current_setting('max_connections')::int,
  to_regclass('perdure.gate') is not null
from r`

// heard remembers when a follower's walsender last had something new to say, on our own clock: the reply's time is the follower's.
type heard struct {
	mark string
	at   time.Time
}

type sender struct {
	PID                     int
	Name, State             string
	Sent, Flushed, Replayed *string
	Priority                int
	Heard, Slot             string
}

// Observe looks at directory, process and server.
func (d *Database) Observe(ctx context.Context) (driver.Observation, error) {
	o := driver.Observation{Directory: d.directory()}
	o.FreeBytes = d.free()
	if d.attach() == nil {
		o.SystemID, o.Timeline, o.Replayed = d.control(ctx)
		o.Flushed = o.Replayed
		return o, nil
	}
	o.Running = true
	err := d.session("observe").do(ctx, func(ctx context.Context, conn *pgx.Conn) error { return d.ask(ctx, conn, &o) })
	if err != nil {
		d.log.Debug("the database does not answer", "err", err)
		if d.running() == nil {
			o.Running = false
		}
		return driver.Observation{Directory: o.Directory, Running: o.Running, FreeBytes: o.FreeBytes}, nil
	}
	o.Answering = true
	if o.InRecovery { // should it be promoted, the session that opens it is there already
		_ = d.session("gate").do(ctx, func(context.Context, *pgx.Conn) error { return nil })
	}
	return o, nil
}

// free is how many bytes the server's user may still write where data and log lie: the lesser of the two. What cannot be asked
// counts as plenty.
func (d *Database) free() uint64 {
	least := uint64(math.MaxInt64)
	for _, dir := range []string{filepath.Dir(d.o.DataDir), d.o.DataDir, filepath.Join(d.o.DataDir, "pg_wal")} {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err == nil {
			least = min(least, fs.Bavail*uint64(fs.Bsize))
		}
	}
	return least
}

func (d *Database) ask(ctx context.Context, conn *pgx.Conn, o *driver.Observation) error {
	var (
		flushed, replayed, receiver *string
		names, conninfo, upstream   string
		senders, waits              string
		age, longest                float64
		guarded                     bool
	)
	err := conn.QueryRow(ctx, question()).Scan(&o.InRecovery, &o.StartTime, &flushed, &replayed, &o.Timeline, &names, &conninfo, &upstream,
		&receiver, &age, &senders, &waits, &longest, &o.ConnectionsInUse, &o.MaxConnections, &guarded)
	if err != nil {
		return err
	}
	o.Flushed, o.Replayed = position(flushed), position(replayed)
	o.SyncNames = parseSyncNames(names)
	if o.InRecovery {
		if conninfo != "" {
			if up, _ := parseUpstream(upstream); up != nil {
				o.Upstream = *up
			} else {
				o.Upstream = driver.Upstream{Host: conninfo}
			}
		}
		if o.Streaming = receiver != nil && *receiver == "streaming"; o.Streaming {
			o.LastContact = time.Duration(age * float64(time.Second))
		}
	}
	o.LongestTxn = time.Duration(longest * float64(time.Second))
	if err := d.followers(senders, o); err != nil {
		return err
	}
	if err := d.waits(waits, o); err != nil {
		return err
	}
	if o.SystemID, err = d.systemID(ctx, conn); err != nil {
		return err
	}
	if guarded {
		return d.askGuard(ctx, conn, o)
	}
	return nil
}

func position(text *string) estate.LSN {
	if text == nil {
		return 0
	}
	lsn, err := estate.ParseLSN(*text)
	if err != nil {
		return 0
	}
	return lsn
}

func (d *Database) followers(text string, o *driver.Observation) error {
	var senders []sender
	if err := json.Unmarshal([]byte(text), &senders); err != nil {
		return errs.New(errs.Internal, "walsenders: %w", err)
	}
	count := map[string]int{}
	for _, s := range senders {
		count[s.Name]++
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	fresh := make(map[string]heard, len(senders))
	for _, s := range senders {
		if s.State == "backup" {
			continue
		}
		f := driver.Follower{
			Name: s.Name, Streaming: s.State == "streaming", Sent: position(s.Sent), Flushed: position(s.Flushed), Replayed: position(s.Replayed),
			SlotOK: holdsSlot(s.Name, s.Slot), Duplicate: count[s.Name] > 1,
		}
		key := strconv.Itoa(s.PID)
		h, mark := d.seen[key], s.Heard+" "+f.Flushed.String()
		if h.mark != mark {
			h = heard{mark: mark, at: now}
		}
		fresh[key] = h
		f.Silent = now.Sub(h.at)
		o.Followers = append(o.Followers, f)
		if s.Priority > 0 && !f.SlotOK {
			d.expel(s)
		}
	}
	d.seen = fresh
	return nil
}

// expel ends a walsender that acknowledges under a listed name without being that member (H6). It does not wait.
func (d *Database) expel(s sender) {
	p := d.proc // d.mu is held
	if p == nil || !isServerProcess(s.PID, inode(d.o.DataDir)) {
		return
	}
	d.log.Warn("a follower carries the name of an in-sync member without holding its slot: it is disconnected", "name", s.Name, "pid", s.PID, "invariant", "I2")
	_ = syscall.Kill(s.PID, syscall.SIGTERM) // it may be gone already
}

func (d *Database) waits(text string, o *driver.Observation) error {
	var waits []struct {
		PID int
		At  string
	}
	if err := json.Unmarshal([]byte(text), &waits); err != nil {
		return errs.New(errs.Internal, "waiting commits: %w", err)
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	fresh := make(map[string]time.Time, len(waits))
	for _, w := range waits {
		key := strconv.Itoa(w.PID) + " " + w.At
		since, ok := d.waiting[key]
		if !ok {
			since = now
		}
		fresh[key] = since
		o.OldestWait = max(o.OldestWait, now.Sub(since))
	}
	d.waiting = fresh
	o.WaitingCommits = len(waits)
	return nil
}

func (d *Database) systemID(ctx context.Context, conn *pgx.Conn) (string, error) {
	d.mu.Lock()
	id := d.sysID
	d.mu.Unlock()
	if id != "" {
		return id, nil
	}
	if err := conn.QueryRow(ctx, "select system_identifier::text from pg_control_system()").Scan(&id); err != nil {
		return "", err
	}
	d.mu.Lock()
	d.sysID = id
	d.mu.Unlock()
	return id, nil
}

// directory says what lies in the data directory, from its files alone.
func (d *Database) directory() driver.Directory {
	switch {
	case !exists(filepath.Join(d.o.DataDir, "PG_VERSION")):
		return driver.Empty
	case exists(d.journalFile("rewind")): // half another server's: only Rewind or Reinitialise may touch it
		return driver.Primary
	case exists(filepath.Join(d.o.DataDir, "standby.signal")) && !exists(filepath.Join(d.o.DataDir, "recovery.signal")):
		return driver.Standby
	}
	return driver.Primary
}

// control reads identity, timeline and the newest position that is certain of a stopped directory.
func (d *Database) control(ctx context.Context) (systemID string, timeline uint32, at estate.LSN) {
	st, err := os.Stat(filepath.Join(d.o.DataDir, "global", "pg_control"))
	if err != nil {
		return "", 0, 0
	}
	d.mu.Lock()
	c := d.controlled
	d.mu.Unlock()
	if c.written != st.ModTime() {
		values, err := d.controlData(ctx, d.o.DataDir)
		if err != nil {
			return "", 0, 0
		}
		c = controlled{written: st.ModTime(), systemID: values["Database system identifier"]}
		if n, err := strconv.ParseUint(values["Latest checkpoint's TimeLineID"], 10, 32); err == nil {
			c.timeline = uint32(n)
		}
		checkpoint, recovered := values["Latest checkpoint location"], values["Minimum recovery ending location"]
		c.at = max(position(&checkpoint), position(&recovered))
		if n, err := strconv.ParseUint(values["Min recovery ending loc's timeline"], 10, 32); err == nil {
			c.timeline = max(c.timeline, uint32(n))
		}
		d.mu.Lock()
		d.controlled = c
		d.mu.Unlock()
	}
	return c.systemID, c.timeline, c.at
}

// controlled is what the control file of a stopped directory said when it was last written.
type controlled struct {
	written  time.Time
	systemID string
	timeline uint32
	at       estate.LSN
}

// controlData runs pg_controldata on a directory.
func (d *Database) controlData(ctx context.Context, dir string) (map[string]string, error) {
	if !exists(filepath.Join(dir, "global", "pg_control")) {
		return nil, errs.New(errs.NotFound, "%s holds no database", dir)
	}
	out, err := d.command(ctx, "pg_controldata", "-D", dir).Output()
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot read the control file of %s: %w", dir, programError(err))
	}
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return values, nil
}

// programError adds what a program wrote to its standard error.
func programError(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return errs.New(errs.Unavailable, "%s: %s", exit.Error(), strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
