package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Bounds of what one transaction of the store takes.
const (
	programPart = 512 << 10
	// smallProgram is what the transaction that starts a run takes of its program.
	smallProgram = 64 << 10
	// MostEntries bounds the entries of one Append.
	MostEntries = 256
	mostProgram = 64 << 20 // of the text of a program
)

// runnerTTL is how long a run waits for a runner that was lost, at least, where the options do not say otherwise; in seconds.
const runnerTTL = 4

// programAt says where the parts of a run's program lie. Everyone who tries to create the run keeps parts of their own, and the one who
// succeeds says which count: nobody overwrites what a run is pinned to (R5).
type programAt struct {
	Of    string `json:"of"`
	Parts int    `json:"parts"`
}

// CreateRun keeps a new run, and what its start says to an incident: both, or neither. A run of the ID that exists is a conflict. Errors are
// those of SayIncident too.
func (s *Store) CreateRun(ctx context.Context, start wire.RunStart) (wire.Run, error) {
	head := start.Head
	if err := s.o.MayAct(); err != nil {
		return head, err
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	for range conflictRetries {
		conditions, said, err := s.saidByStart(ctx, start.Incident)
		if err != nil {
			return head, err
		}
		writes, err := s.creation(ctx, &head, start.Program, start.Journal)
		if err != nil {
			return head, err
		}
		conditions = append(append(conditions, inWindow(start)...), absent(head.ID))
		revision, ok, err := s.commit(ctx, "start run "+head.ID, conditions, append(writes, said...))
		switch {
		case err != nil:
			return head, err
		case ok:
			head.Revision = revision
			return head, nil
		}
		if err := s.checkWindow(ctx, start); err != nil {
			return head, err
		}
		if _, err := s.Run(ctx, head.ID, wire.Fresh); start.Incident == nil || errs.KindOf(err) != errs.NotFound {
			return head, s.runExists(head.ID, err)
		}
	}
	return head, errs.New(errs.Conflict, "cannot start run %s: incident %s keeps changing; look at it and start again", head.ID, start.Incident.ID)
}

// PostRun keeps a new run by the transaction that also carries out what it begins with, a transition of a group: either both are there, or
// neither. The transition is judged as by Transition, on the newest record. Errors: those of Transition and of CreateRun.
func (s *Store) PostRun(ctx context.Context, start wire.RunStart, who string, group estate.GroupID, t unit.Transition) (wire.Group, error) {
	if err := s.o.MayAct(); err != nil {
		return wire.Group{}, err
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	head := start.Head
	// What is refused leaves nothing, and is refused before the program of a run is kept.
	for range conflictRetries {
		now, at, err := s.group(ctx, group, wire.Fresh)
		if err != nil {
			return now, err
		}
		next, write, err := s.judge(who, now, at, t)
		if err != nil {
			return now, err
		}
		if len(write) == 0 {
			return now, errs.New(errs.Conflict, "cannot start run %s: there is nothing to %s of %s", head.ID, t.Kind, group)
		}
		conditions, said, err := s.saidByStart(ctx, start.Incident)
		if err != nil {
			return now, err
		}
		creation, err := s.creation(ctx, &head, start.Program, start.Journal)
		if err != nil {
			return now, err
		}
		conditions = append(append(conditions, inWindow(start)...), absent(head.ID), unchanged(groupsPrefix+string(group), now.Revision))
		revision, ok, err := s.commit(ctx, "start run "+head.ID, conditions, slices.Concat(creation, write, said))
		if err != nil {
			return now, err
		}
		if ok {
			return wire.Group{Record: next, Revision: revision}, nil
		}
		if err := s.checkWindow(ctx, start); err != nil {
			return now, err
		}
		if _, err := s.Run(ctx, head.ID, wire.Fresh); errs.KindOf(err) != errs.NotFound {
			return now, s.runExists(head.ID, err)
		}
	}
	return wire.Group{}, errs.New(errs.Conflict, "cannot %s %s: its record keeps changing; read it and decide again", t.Kind, group)
}

// absent holds while there is no run of the ID.
func absent(id string) clientv3.Cmp { return unchanged(runsPrefix+id, 0) }

// creation gives what has to be written with a new run, on the condition that it is absent. The head is made whole. A program that is large
// is kept beforehand, in parts; the run exists with the creation.
func (s *Store) creation(ctx context.Context, head *wire.Run, program *plan.Program, journal []run.Entry) ([]clientv3.Op, error) {
	if err := checkName("run", head.ID); err != nil {
		return nil, err
	}
	own, err := s.Incarnation(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	head.Incarnation = own.Incarnation
	data, err := json.Marshal(program)
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot encode the program of run %s: %w", head.ID, err)
	}
	sum := sha256.Sum256(data)
	head.Program = hex.EncodeToString(sum[:])
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data); err != nil {
		return nil, errs.New(errs.Internal, "cannot pack the program of run %s: %w", head.ID, err)
	}
	if err := z.Close(); err != nil {
		return nil, errs.New(errs.Internal, "cannot pack the program of run %s: %w", head.ID, err)
	}
	parts, at := packed.Bytes(), programAt{Of: randomHex(8)}
	var last []clientv3.Op
	for ; len(parts) > 0; at.Parts++ {
		size := min(len(parts), programPart)
		part := clientv3.OpPut(fmt.Sprintf("%s%s%s/%s/%04d", Root, programsPrefix, head.ID, at.Of, at.Parts), string(parts[:size]))
		parts = parts[size:]
		if at.Parts == 0 && size <= smallProgram {
			last = append(last, part)
			continue
		}
		if _, ok, err := s.commit(apart(ctx), "keep the program of run "+head.ID, []clientv3.Cmp{absent(head.ID)}, []clientv3.Op{part}); err != nil || !ok {
			return nil, s.runExists(head.ID, err)
		}
	}
	writes, err := s.journalWrites(head, journal)
	if err != nil {
		return nil, err
	}
	by := journal[0].By
	who := "person:" + by
	if by == wire.ByCalendar {
		who = by
	}
	event, err := s.event(0, wire.Event{Who: who, What: "run.started", Subject: head.ID}, head)
	if err != nil {
		return nil, err
	}
	pinned, err := put(programsPrefix+head.ID, at)
	if err != nil {
		return nil, err
	}
	// What others who tried have left goes with it.
	all := Root + programsPrefix + head.ID + "/"
	these := all + at.Of + "/"
	return append(append(writes, last...), event, pinned, clientv3.OpDelete(all, clientv3.WithRange(these)), clientv3.OpDelete(clientv3.GetPrefixRangeEnd(these), clientv3.WithRange(clientv3.GetPrefixRangeEnd(all)))), nil
}

func (s *Store) runExists(id string, err error) error {
	if err != nil {
		return err
	}
	return errs.New(errs.Conflict, "there is a run %s already", id)
}

func (s *Store) journalWrites(head *wire.Run, entries []run.Entry) ([]clientv3.Op, error) {
	head.Seq = entries[len(entries)-1].Seq
	kept := *head
	kept.Revision = 0
	headOp, err := put(runsPrefix+head.ID, kept)
	if err != nil {
		return nil, err
	}
	journal, err := run.Encode(s.writes(), entries)
	if err != nil {
		return nil, errs.New(errs.KindOf(err), "cannot encode the journal of run %s: %w", head.ID, err)
	}
	return []clientv3.Op{headOp, clientv3.OpPut(fmt.Sprintf("%s%s%s/%010d", Root, journalsPrefix, head.ID, entries[0].Seq), string(journal))}, nil
}

// Run reads a run at a glance.
func (s *Store) Run(ctx context.Context, id string, r wire.Read) (wire.Run, error) {
	if err := checkName("run", id); err != nil {
		return wire.Run{}, err
	}
	e, _, err := s.get(ctx, runsPrefix+id, r)
	if err != nil {
		return wire.Run{}, err
	}
	if e.modified == 0 {
		return wire.Run{}, errs.New(errs.NotFound, "there is no run %q; `perdure run list` lists them", id)
	}
	return runOf(e)
}

func runOf(e entry) (wire.Run, error) {
	head, err := decode[wire.Run](e)
	head.Revision = e.modified
	return head, err
}

// Runs lists all runs, in the order of their IDs.
func (s *Store) Runs(ctx context.Context, r wire.Read) ([]wire.Run, error) {
	entries, _, err := s.list(ctx, runsPrefix, r)
	if err != nil {
		return nil, err
	}
	runs := make([]wire.Run, 0, len(entries))
	for _, e := range entries {
		head, err := runOf(e)
		if err != nil {
			return nil, err
		}
		runs = append(runs, head)
	}
	return runs, nil
}

// Program reads what a run is pinned to.
func (s *Store) Program(ctx context.Context, id string) (*plan.Program, error) {
	text, err := s.ProgramText(ctx, id)
	if err != nil {
		return nil, err
	}
	var p plan.Program
	if err := run.Strictly(text, &p); err != nil {
		return nil, errs.New(errs.KindOf(err), "the program of run %s cannot be read: %w", id, err)
	}
	return &p, nil
}

// ProgramText is the program of a run as it was kept.
func (s *Store) ProgramText(ctx context.Context, id string) ([]byte, error) {
	if err := checkName("run", id); err != nil {
		return nil, err
	}
	pinned, _, err := s.get(ctx, programsPrefix+id, wire.Fresh)
	if err != nil {
		return nil, err
	}
	if pinned.modified == 0 {
		if err := s.retired(ctx, id); err != nil {
			return nil, err
		}
		return nil, errs.New(errs.Internal, "run %s has no program", id)
	}
	at, err := decode[programAt](pinned)
	if err != nil {
		return nil, err
	}
	entries, _, err := s.list(ctx, programsPrefix+id+"/"+at.Of+"/", wire.Fresh)
	if err != nil {
		return nil, err
	}
	if len(entries) != at.Parts {
		return nil, errs.New(errs.Internal, "the program of run %s has %d parts, and %d are there", id, at.Parts, len(entries))
	}
	var packed bytes.Buffer
	for _, e := range entries {
		packed.Write(e.value)
	}
	z, err := gzip.NewReader(&packed)
	if err != nil {
		return nil, errs.New(errs.Internal, "the program of run %s cannot be unpacked: %w", id, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, mostProgram+1))
	if err != nil || len(text) > mostProgram {
		return nil, errs.New(errs.Internal, "the program of run %s cannot be unpacked: %w", id, err)
	}
	return text, nil
}

// Journal reads the entries of a run after a number.
func (s *Store) Journal(ctx context.Context, id string, after int) ([]run.Entry, error) {
	if err := checkName("run", id); err != nil {
		return nil, err
	}
	var out []run.Entry
	prefix := journalsPrefix + id + "/"
	// The key of a batch is its first entry, so what is wanted may begin within a batch that begins at most so much earlier.
	from := prefix + fmt.Sprintf("%010d", max(0, after+2-MostEntries))
	entries, _, err := s.listFrom(ctx, prefix, from, wire.Fresh)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		batch, err := run.Decode(e.value)
		if err != nil {
			return nil, errs.New(errs.KindOf(err), "the journal of run %s cannot be read at %s: %w", id, e.key, err)
		}
		for _, one := range batch {
			if one.Seq > after {
				out = append(out, one)
			}
		}
	}
	if after == 0 && (len(out) == 0 || out[0].Seq != 1) { // there is no journal without its first entry but one that goes
		return nil, s.retired(ctx, id)
	}
	return out, nil
}

// Claim is the right of one node to carry out a run, until its lease is over.
type Claim struct {
	Run string
	// Term grows with every claim of the run.
	Term int64
	key  string
	// incarnation is the revision of the store's: in another one the claim is worth nothing (I10).
	incarnation int64
}

// ClaimRun takes the right to carry out a run, bound to a lease of the node. ok is false where another node has it.
func (s *Store) ClaimRun(ctx context.Context, id string, lease int64) (c Claim, ok bool, err error) {
	if err := s.o.MayAct(); err != nil {
		return c, false, err
	}
	key := runnersPrefix + id
	write, err := put(key, wire.RunnerOf{Node: s.o.Node}, clientv3.WithLease(clientv3.LeaseID(lease)))
	if err != nil {
		return c, false, err
	}
	head, err := s.Run(ctx, id, wire.Fresh)
	if err != nil {
		return c, false, err
	}
	present, _, err := s.get(ctx, incarnationKey, wire.Fresh)
	if err != nil {
		return c, false, err
	}
	own, err := incarnationOf(present)
	if err != nil {
		return c, false, err
	}
	if own.Incarnation != head.Incarnation {
		return c, false, errs.Refuse("I10", "run %s is of an earlier incarnation of the store: a person has to say that it goes on", id)
	}
	conditions := []clientv3.Cmp{unchanged(key, 0), unchanged(incarnationKey, present.modified)}
	revision, ok, err := s.commit(ctx, "take over run "+id, conditions, []clientv3.Op{write})
	if err != nil || !ok {
		return c, false, err
	}
	return Claim{Run: id, Term: revision, key: key, incarnation: present.modified}, true, nil
}

func incarnationOf(e entry) (wire.Incarnation, error) {
	if e.modified == 0 {
		return wire.Incarnation{}, nil
	}
	return decode[wire.Incarnation](e)
}

// ReleaseRun gives the right back.
func (s *Store) ReleaseRun(ctx context.Context, c Claim) error {
	_, _, err := s.commit(ctx, "release run "+c.Run, []clientv3.Cmp{unchanged(c.key, c.Term)}, []clientv3.Op{clientv3.OpDelete(Root + c.key)})
	return err
}

// Busy is what an Append met where a lock is held by a step of another run.
type Busy struct{ Locks []string }

func (b Busy) Error() string { return "held by other runs: " + strings.Join(b.Locks, ", ") }

// Append adds entries to the journal of a run on the condition that it is still at head.Revision, and, for a runner, that its claim holds. New
// locks are taken and others released by the same transaction. Errors: Conflict (somebody else appended, or the claim is lost: read again),
// Busy, Unavailable (nothing happened) and Unknown.
func (s *Store) Append(ctx context.Context, claim *Claim, head wire.Run, entries []run.Entry, take, release []string) (wire.Run, error) {
	if err := s.o.MayAct(); err != nil {
		return head, err
	}
	switch {
	case len(entries) == 0 || len(entries) > MostEntries:
		return head, errs.New(errs.Internal, "%d entries cannot be appended to the journal of run %s at once, at most %d can", len(entries), head.ID, MostEntries)
	case entries[0].Seq != head.Seq+1:
		return head, errs.New(errs.Internal, "entry %d does not follow entry %d of run %s", entries[0].Seq, head.Seq, head.ID)
	}
	conditions := []clientv3.Cmp{unchanged(runsPrefix+head.ID, head.Revision)}
	if claim != nil {
		conditions = append(conditions, unchanged(claim.key, claim.Term), unchanged(incarnationKey, claim.incarnation))
	}
	var busy Busy
	writes, err := s.journalWrites(&head, entries)
	if err != nil {
		return head, err
	}
	for _, l := range take {
		key := locksPrefix + url.PathEscape(l)
		have, _, err := s.get(ctx, key, wire.Fresh)
		switch {
		case err != nil:
			return head, err
		case have.modified != 0 && string(have.value) != strconv.Quote(head.ID):
			busy.Locks = append(busy.Locks, l)
			continue
		}
		conditions = append(conditions, unchanged(key, have.modified))
		write, err := put(key, head.ID)
		if err != nil {
			return head, err
		}
		writes = append(writes, write)
	}
	if len(busy.Locks) > 0 {
		return head, busy
	}
	for _, l := range release {
		writes = append(writes, clientv3.OpDelete(Root+locksPrefix+url.PathEscape(l)))
	}
	if claim == nil { // what people say stands in the audit log too
		last := entries[len(entries)-1]
		who := last.By
		if last.Signed != nil { // it is another one's decision
			who = last.Signed.Carrier
		}
		event, err := s.event(head.Revision, wire.Event{Who: "person:" + who, What: "run." + string(last.What), Subject: head.ID}, last)
		if err != nil {
			return head, err
		}
		writes = append(writes, event)
	}
	revision, ok, err := s.commit(ctx, "append to the journal of run "+head.ID, conditions, writes)
	if err != nil {
		return head, err
	}
	if !ok {
		return head, errs.New(errs.Conflict, "the journal of run %s has gone on meanwhile, or another node carries it out", head.ID)
	}
	head.Revision = revision
	return head, nil
}

// sayTries is how often a person's word is judged anew after the run has gone on.
const sayTries = 16

// Say appends what a person said to a run, judged on its newest state. A run that stands still since a recovery of the store goes on with
// Resumed: that is a person's word in this incarnation (I10).
func (s *Store) Say(ctx context.Context, id string, e run.Entry) (wire.Run, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	program, err := s.Program(ctx, id)
	if err != nil {
		return wire.Run{}, err
	}
	for range sayTries {
		head, err := s.Run(ctx, id, wire.Fresh)
		if err != nil {
			return head, err
		}
		own, err := s.Incarnation(ctx, wire.Fresh)
		if err != nil {
			return head, err
		}
		journal, err := s.Journal(ctx, id, 0)
		if err != nil {
			return head, err
		}
		r, err := run.Replay(id, program, journal)
		if err != nil {
			return head, err
		}
		if r.Seq != head.Seq {
			continue // it went on while it was read
		}
		e.Seq, e.At = r.Seq+1, s.o.Now().UTC().Truncate(time.Microsecond)
		held := r.Held()
		if err := r.Advance(e); err != nil {
			return head, err
		}
		after := r.Held()
		release := slices.DeleteFunc(held, func(l string) bool { return slices.Contains(after, l) })
		if e.What == run.Resumed {
			head.Incarnation = own.Incarnation
		}
		head, err = s.Append(ctx, nil, head.At(r), []run.Entry{e}, nil, release)
		if errs.KindOf(err) != errs.Conflict {
			return head, err
		}
	}
	return wire.Run{}, errs.New(errs.Conflict, "run %s keeps going on; say it again", id)
}
