package postgres

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/guard"
)

// comparison is how a stopped directory and a successor relate.
type comparison struct {
	SystemID string     `json:"systemID"`
	Timeline uint32     `json:"timeline"` // the successor's
	Fork     estate.LSN `json:"fork"`     // where the successor's history leaves ours; 0: both are on the same timeline
	At       estate.LSN `json:"at"`       // what we have for certain
	Position estate.LSN `json:"position"` // what the successor has
	spans    []span     // ours
}

// compare asks the successor for its history and finds where it forks off. Refused means that the directory has to be copied anew.
func (d *Database) compare(ctx context.Context, successor driver.Upstream) (comparison, error) {
	theirs, err := d.askHistory(ctx, successor)
	if err != nil {
		return comparison{}, err
	}
	id, timeline, at := d.control(ctx)
	if id == "" {
		return comparison{}, errs.Refuse("I6", "the control file of %s cannot be read: copy it anew", d.o.Member)
	}
	if id != theirs.SystemID {
		return comparison{}, errs.Refuse("I6", "%s and %s are not copies of one database (%s and %s): copy it anew", d.o.Member, successor.Member, id, theirs.SystemID)
	}
	c := comparison{SystemID: id, Timeline: theirs.Timeline, At: at, Position: theirs.Position}
	if c.spans, err = d.ownHistory(d.o.DataDir, timeline); err != nil {
		return comparison{}, errs.Refuse("I6", "%w: copy %s anew", err, d.o.Member)
	}
	var ok bool
	if c.Fork, ok = fork(c.spans, theirs.Spans); !ok {
		return comparison{}, errs.Refuse("I6", "%s and %s have no history in common: copy it anew", d.o.Member, successor.Member)
	}
	return c, nil
}

// Diverged lists exactly the transactions that this stopped former owner committed beyond its successor's fork: from its own
// log, with their idempotency records read from the directory opened without listeners, walsenders or workers (I6).
func (d *Database) Diverged(ctx context.Context, successor driver.Upstream) (driver.Diverged, error) {
	done, err := d.begin(ctx, "list the divergence of")
	if err != nil {
		return driver.Diverged{}, err
	}
	defer done()
	if d.attach() != nil {
		return driver.Diverged{}, errs.New(errs.Conflict, "cannot list the divergence of %s while its server runs: stop it first", d.o.Member)
	}
	killRemains(d.o.DataDir)
	if exists(d.journalFile("rewind")) { // half rewound: what it had was listed before
		var saved driver.Diverged
		if found, err := d.readJournal("diverged", &saved); err != nil || !found {
			return driver.Diverged{}, errs.Refuse("I6", "a rewind of %s was cut short and its divergence was not kept: copy it anew", d.o.Member)
		}
		return saved, d.settled(ctx, successor, saved.Transactions)
	}
	if d.directory() != driver.Primary {
		return driver.Diverged{}, errs.Refuse("I6", "%s is not an owner's directory: there is nothing of its own in it", d.o.Member)
	}
	c, err := d.compare(ctx, successor)
	if err != nil {
		return driver.Diverged{}, err
	}
	if c.Fork == 0 {
		return driver.Diverged{}, errs.New(errs.Unavailable, "%s is not promoted: there is nothing to compare %s with yet", successor.Member, d.o.Member)
	}
	out, err := d.listDiverged(ctx, c)
	if errors.Is(err, errLogGone) {
		d.log.Warn("the log since the fork is not complete: the records of both sides are compared instead", "fork", c.Fork)
		out, err = d.listByRecords(ctx, c, successor)
	}
	if err != nil {
		return driver.Diverged{}, err
	}
	if err := d.settled(ctx, successor, out.Transactions); err != nil {
		return driver.Diverged{}, err
	}
	return out, d.writeJournal("diverged", out)
}

func (d *Database) listDiverged(ctx context.Context, c comparison) (driver.Diverged, error) {
	log, err := d.readLog(ctx, c.spans, c.Fork)
	if err != nil {
		return driver.Diverged{}, err
	}
	out := driver.Diverged{From: c.Fork, Until: max(c.Fork, log.end)}
	if len(log.commits) == 0 {
		return out, nil
	}
	if err := d.configure(); err != nil {
		return driver.Diverged{}, err
	}
	if err := d.steer(d.o.DataDir, steering{}, true); err != nil {
		return driver.Diverged{}, err
	}
	err = d.private(ctx, d.o.DataDir, d.o.Database, func(ctx context.Context, conn *pgx.Conn) error {
		return d.mapRecords(ctx, conn, log, &out)
	})
	return out, failed(err, "cannot read the records of %s", d.o.Member)
}

// errLogGone: the log from the fork on was not kept as a whole.
var errLogGone = errors.New("the log since the fork is not complete")

// commonRun is how many records in a row have to be the same on both sides before what is older is taken for common. Only a
// transaction that stayed open while so many others recorded something could be missed.
const commonRun = 10_000

// listByRecords finds the diverged records without the log: those that the successor does not have in the very same form. What
// left no record cannot be counted so.
func (d *Database) listByRecords(ctx context.Context, c comparison, successor driver.Upstream) (driver.Diverged, error) {
	theirs, err := d.dialUpstream(ctx, successor, false)
	if err != nil {
		return driver.Diverged{}, err
	}
	defer theirs.Close(context.WithoutCancel(ctx))
	if err := d.configure(); err != nil {
		return driver.Diverged{}, err
	}
	if err := d.steer(d.o.DataDir, steering{}, true); err != nil {
		return driver.Diverged{}, err
	}
	out := driver.Diverged{From: c.Fork, Unkeyed: -1}
	err = d.private(ctx, d.o.DataDir, d.o.Database, func(ctx context.Context, ours *pgx.Conn) error {
		var end string
		if err := ours.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&end); err != nil {
			return err
		}
		out.Until = position(&end)
		// Older records may have been purged there by now.
		oldest := ""
		if err := theirs.QueryRow(ctx, "select coalesce(min(xid)::text, '') from perdure.record").Scan(&oldest); err != nil {
			return err
		}
		if oldest == "" {
			oldest = "0"
		}
		before := ""
		for { // requests that shared a transaction share its number, so a batch ends with all of one
			rows, err := ours.Query(ctx, `select xid::text, unit, caller, routing_key, key, encode(hash, 'hex'), accounts, coalesce(amount, 0)::text, recorded_at
				from perdure.record where xid >= $1::text::xid8 and ($2 = '' or xid < nullif($2, '')::text::xid8) order by xid desc fetch first $3 rows with ties`, oldest, before, d.commonRun)
			if err != nil {
				return err
			}
			batch, err := pgx.CollectRows(rows, diverged)
			if err != nil || len(batch) == 0 {
				return err
			}
			missing, err := notIn(ctx, theirs, batch)
			if err != nil || len(missing) == 0 {
				return err
			}
			for _, t := range missing {
				out.Transactions = append(out.Transactions, t.DivergedTransaction)
			}
			before = batch[len(batch)-1].full
		}
	})
	slices.Reverse(out.Transactions)
	return out, failed(err, "cannot compare the records of %s with those of %s", d.o.Member, successor.Member)
}

// numbered is a record with the full number of its transaction.
type numbered struct {
	driver.DivergedTransaction
	full string
}

func diverged(row pgx.CollectableRow) (t numbered, err error) {
	if err := row.Scan(&t.full, &t.Unit, &t.Caller, &t.RoutingKey, &t.Key, &t.Hash, &t.Accounts, &t.Amount, &t.At); err != nil {
		return t, err
	}
	n, err := strconv.ParseUint(t.full, 10, 64)
	t.Xid = uint32(n)
	return t, err
}

// notIn gives the records that the other side does not have in the very same form.
func notIn(ctx context.Context, theirs *pgx.Conn, batch []numbered) ([]numbered, error) {
	n := len(batch)
	xids, callers, routes, keys, at := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]time.Time, n)
	for i, t := range batch {
		xids[i], callers[i], routes[i], keys[i], at[i] = t.full, t.Caller, t.RoutingKey, t.Key, t.At
	}
	rows, err := theirs.Query(ctx, `select k.i::int - 1 from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) with ordinality k (xid, caller, routing_key, key, at, i)
		where not exists (select from perdure.record r where r.caller = k.caller and r.routing_key = k.routing_key and r.key = k.key and r.xid::text = k.xid and r.recorded_at = k.at)
		order by k.i`, xids, callers, routes, keys, at)
	if err != nil {
		return nil, err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return nil, err
	}
	out := make([]numbered, len(missing))
	for i, m := range missing {
		out[i] = batch[m]
	}
	return out, nil
}

// relation is a relation as the log names it.
type relation struct{ database, file uint32 }

// logged is what the log says after a position.
type logged struct {
	commits []commit
	end     estate.LSN // of the last complete record
}

// commit is one committed transaction in the log.
type commit struct {
	xid     uint32
	at      estate.LSN
	changed map[relation]bool
}

// readLog reads what lies in the log after the position, over all of our later timelines.
func (d *Database) readLog(ctx context.Context, spans []span, from estate.LSN) (logged, error) {
	var out logged
	begin := from
	for _, s := range spans {
		if s.End != 0 && s.End <= from {
			continue
		}
		part, err := d.dumpLog(ctx, s, begin)
		if err != nil {
			return logged{}, err
		}
		out.commits = append(out.commits, part.commits...)
		out.end = max(out.end, part.end)
		begin = s.End
	}
	return out, nil
}

func (d *Database) dumpLog(ctx context.Context, s span, from estate.LSN) (logged, error) {
	size, err := d.segments(ctx)
	if err != nil {
		return logged{}, err
	}
	first, last, err := d.kept(size, s, from)
	if err != nil || first == "" {
		return logged{}, err
	}
	args := []string{"--path=" + filepath.Join(d.o.DataDir, "pg_wal"), "--start=" + from.String()}
	if s.End != 0 {
		args = append(args, "--end="+s.End.String())
	}
	// Without the names it takes the size of the files from any of them: from one that was made for later and is empty, it may be.
	dump := d.command(ctx, "pg_waldump", append(args, first, last)...)
	pipe, err := dump.StdoutPipe()
	if err != nil {
		return logged{}, errs.New(errs.Unavailable, "cannot read the log of %s: %w", d.o.Member, err)
	}
	var stderr strings.Builder
	dump.Stderr = &stderr
	if err := dump.Start(); err != nil {
		return logged{}, errs.New(errs.Unavailable, "cannot read the log of %s: %w", d.o.Member, err)
	}
	out, scanned := scanLog(pipe)
	if err := dump.Wait(); err != nil {
		if ctx.Err() != nil {
			return logged{}, errs.New(errs.Unavailable, "reading the log of %s was cut short", d.o.Member)
		}
		said := stderr.String()
		switch {
		case strings.Contains(said, "could not find file") || strings.Contains(said, "could not open"):
			return logged{}, errLogGone
		case strings.Contains(said, "could not find a valid record after") || strings.Contains(said, "error in WAL record at"),
			strings.Contains(said, "header specifies 0 bytes"): // the file was made, and nothing written into it
			// The log of a killed server ends in something that is no record; that is its end, as it is for recovery.
		default:
			return logged{}, errs.New(errs.Unavailable, "cannot read the log of %s: %s (%w)", d.o.Member, complaint(said), err)
		}
	}
	return out, scanned
}

// kept gives the names of the first and the last file of the span's log from the position on. Both are empty where the log ends before it.
func (d *Database) kept(size segments, s span, from estate.LSN) (first, last string, err error) {
	entries, err := os.ReadDir(filepath.Join(d.o.DataDir, "pg_wal"))
	if err != nil {
		return "", "", errs.New(errs.Unavailable, "cannot read the log of %s: %w", d.o.Member, err)
	}
	begin, numbers := size.of(from), map[uint64]bool{}
	end := begin
	for _, e := range entries {
		n, ok := size.number(e.Name())
		if ok && n >= begin && strings.HasPrefix(e.Name(), timelineName(s.Timeline)) {
			numbers[n] = true
			end = max(end, n)
		}
	}
	if len(numbers) == 0 && s.End == 0 {
		return "", "", nil
	}
	if s.End != 0 {
		end = size.of(s.End - 1)
	}
	for n := begin; n <= end; n++ {
		if !numbers[n] {
			return "", "", errLogGone
		}
	}
	return size.name(s.Timeline, begin), size.name(s.Timeline, end), nil
}

// scanLog reads pg_waldump's lines. Changes of subtransactions belong to the transaction that commits them.
func scanLog(r io.Reader) (logged, error) {
	var out logged
	changed := map[uint32]map[relation]bool{}
	lines := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if e, ok := parseLogLine(strings.TrimRight(line, "\n")); ok {
				out.end = max(out.end, e.at+estate.LSN(e.length))
				switch {
				case e.manager == "Transaction" && strings.HasPrefix(e.text, "COMMIT"):
					c := commit{xid: e.xid, at: e.at, changed: changed[e.xid]}
					for _, sub := range subtransactions(e.text) {
						for rel := range changed[sub] {
							if c.changed == nil {
								c.changed = map[relation]bool{}
							}
							c.changed[rel] = true
						}
						delete(changed, sub)
					}
					delete(changed, e.xid)
					out.commits = append(out.commits, c)
				case e.xid != 0 && (e.manager == "Heap" || e.manager == "Heap2") && !strings.HasPrefix(e.text, "LOCK"):
					for _, rel := range relations(e.text) {
						if changed[e.xid] == nil {
							changed[e.xid] = map[relation]bool{}
						}
						changed[e.xid][rel] = true
					}
				}
			}
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, errs.New(errs.Unavailable, "cannot read the log: %w", err)
		}
	}
}

type logEntry struct {
	manager string
	length  uint64
	xid     uint32
	at      estate.LSN
	text    string
}

// parseLogLine reads "rmgr: Heap  len (rec/tot):  54/  54, tx:  741, lsn: 0/01912CE8, prev 0/01912CB0, desc: INSERT …".
func parseLogLine(line string) (logEntry, bool) {
	head, text, ok := strings.Cut(line, ", desc: ")
	if !ok || !strings.HasPrefix(head, "rmgr: ") {
		return logEntry{}, false
	}
	f := strings.Split(head, ", ")
	if len(f) != 4 {
		return logEntry{}, false
	}
	manager, lengths, ok := strings.Cut(strings.TrimPrefix(f[0], "rmgr: "), " len (rec/tot):")
	_, total, ok2 := strings.Cut(lengths, "/")
	if !ok || !ok2 {
		return logEntry{}, false
	}
	length, err1 := strconv.ParseUint(strings.TrimSpace(total), 10, 64)
	xid, err2 := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(f[1], "tx:")), 10, 32)
	at, err3 := estate.ParseLSN(strings.TrimSpace(strings.TrimPrefix(f[2], "lsn:")))
	if err1 != nil || err2 != nil || err3 != nil {
		return logEntry{}, false
	}
	return logEntry{manager: strings.TrimSpace(manager), length: length, xid: uint32(xid), at: at, text: text}, true
}

func subtransactions(text string) []uint32 {
	_, rest, ok := strings.Cut(text, "subxacts: ")
	if !ok {
		return nil
	}
	rest, _, _ = strings.Cut(rest, ";")
	var out []uint32
	for f := range strings.FieldsSeq(rest) {
		if n, err := strconv.ParseUint(f, 10, 32); err == nil {
			out = append(out, uint32(n))
		}
	}
	return out
}

// relations reads "blkref #0: rel 1663/16384/16401 blk 0".
func relations(text string) []relation {
	var out []relation
	for {
		_, rest, ok := strings.Cut(text, "rel ")
		if !ok {
			return out
		}
		name, _, _ := strings.Cut(rest, " ")
		text = rest
		f := strings.Split(strings.TrimRight(name, ",;"), "/")
		if len(f) != 3 {
			continue
		}
		database, err1 := strconv.ParseUint(f[1], 10, 32)
		file, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 == nil && err2 == nil {
			out = append(out, relation{uint32(database), uint32(file)})
		}
	}
}

// mapRecords finds the idempotency records of each committed transaction, and counts those that changed business tables without one.
func (d *Database) mapRecords(ctx context.Context, conn *pgx.Conn, log logged, out *driver.Diverged) error {
	var next uint64
	if err := conn.QueryRow(ctx, "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").Scan(&next); err != nil {
		return err
	}
	full := make([]string, len(log.commits))
	for i, c := range log.commits {
		// The log has the lower half of a transaction's number; all of them lie within 2^31 before the next one.
		full[i] = strconv.FormatUint(next-uint64(uint32(next)-c.xid), 10)
	}
	rows, err := conn.Query(ctx, guard.RecordsByTransactionSQL, full)
	if err != nil {
		return err
	}
	byXid := map[uint32][]driver.DivergedTransaction{}
	records, err := pgx.CollectRows(rows, diverged)
	if err != nil {
		return err
	}
	for _, t := range records {
		byXid[t.Xid] = append(byXid[t.Xid], t.DivergedTransaction)
	}
	own, database, err := unowned(ctx, conn)
	if err != nil {
		return err
	}
	for _, c := range log.commits {
		for _, t := range byXid[c.xid] {
			t.Commit = c.at
			out.Transactions = append(out.Transactions, t)
		}
		if len(byXid[c.xid]) > 0 {
			continue
		}
		for rel := range c.changed {
			if rel.database == database && !own[rel.file] {
				out.Unkeyed++
				break
			}
		}
	}
	return nil
}

// unowned gives the files that hold no business data: catalogues, schema perdure, and their out-of-line storage.
func unowned(ctx context.Context, conn *pgx.Conn) (map[uint32]bool, uint32, error) {
	var database uint32
	if err := conn.QueryRow(ctx, "select oid from pg_database where datname = current_database()").Scan(&database); err != nil {
		return nil, 0, err
	}
	rows, err := conn.Query(ctx, `
		with own as (select c.oid, c.reltoastrelid from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.relkind in ('r', 'm', 'S') and n.nspname in ('pg_catalog', 'information_schema', 'perdure'))
		select pg_relation_filenode(oid) from own where pg_relation_filenode(oid) is not null
		union select pg_relation_filenode(reltoastrelid) from own where reltoastrelid <> 0`)
	if err != nil {
		return nil, 0, err
	}
	files, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return nil, 0, err
	}
	own := make(map[uint32]bool, len(files))
	for _, f := range files {
		own[f] = true
	}
	return own, database, nil
}

// settled asks the successor which of the keys are recorded there.
func (d *Database) settled(ctx context.Context, successor driver.Upstream, transactions []driver.DivergedTransaction) error {
	if len(transactions) == 0 {
		return nil
	}
	conn, err := d.dialUpstream(ctx, successor, false)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	callers, routes, keys := make([]string, len(transactions)), make([]string, len(transactions)), make([]string, len(transactions))
	for i, t := range transactions {
		callers[i], routes[i], keys[i] = t.Caller, t.RoutingKey, t.Key
	}
	rows, err := conn.Query(ctx, `select k.i::int - 1 from unnest($1::text[], $2::text[], $3::text[]) with ordinality k (caller, routing_key, key, i)
		where exists (select from perdure.record r where r.caller = k.caller and r.routing_key = k.routing_key and r.key = k.key)`, callers, routes, keys)
	if err != nil {
		return failed(err, "cannot ask %s which keys it has", successor.Member)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return failed(err, "cannot ask %s which keys it has", successor.Member)
	}
	for i := range transactions {
		transactions[i].Settled = false
	}
	for _, i := range found {
		transactions[i].Settled = true
	}
	return nil
}
