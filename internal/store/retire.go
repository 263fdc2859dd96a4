package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// retireAtOnce bounds the leaves that one transaction takes out.
const retireAtOnce = 100

// Retirement reads the newest retirement; At 0: there was none.
func (s *Store) Retirement(ctx context.Context) (wire.Retirement, error) {
	e, _, err := s.get(ctx, retirementKey, wire.Fresh)
	if err != nil || e.modified == 0 {
		return wire.Retirement{}, err
	}
	r, err := decode[wire.Retirement](e)
	r.Revision = e.modified
	return r, err
}

// BeginRetirement keeps a new retirement in the place of the last one, which has come to its end. Errors: conflict where another one goes on.
func (s *Store) BeginRetirement(ctx context.Context, who string, r wire.Retirement) (wire.Retirement, error) {
	last, err := s.Retirement(ctx)
	if err != nil {
		return r, err
	}
	if last.At != 0 && last.FinishedAt == 0 {
		return r, errs.New(errs.Conflict, "the retirement that %s asked for goes on: wait until it has come to its end", last.By)
	}
	r.By, r.At = who, s.now()
	return s.writeRetirement(ctx, r, last.Revision, &wire.Event{Who: who, What: "evidence.retire", Subject: r.Origin})
}

// KeepRetirement keeps how far a retirement has come. Errors: conflict where it was written meanwhile.
func (s *Store) KeepRetirement(ctx context.Context, r wire.Retirement) (wire.Retirement, error) {
	var event *wire.Event
	if r.FinishedAt != 0 {
		event = &wire.Event{Who: "node:" + s.o.Node, What: "evidence.retired", Subject: r.Origin}
	}
	return s.writeRetirement(ctx, r, r.Revision, event)
}

func (s *Store) writeRetirement(ctx context.Context, r wire.Retirement, before int64, event *wire.Event) (wire.Retirement, error) {
	var writes []clientv3.Op
	if event != nil {
		kept := r
		kept.Revision = 0
		op, err := s.event(before, *event, kept)
		if err != nil {
			return r, err
		}
		writes = append(writes, op)
	}
	r.Revision = before
	return s.withRetirement(ctx, r, nil, writes)
}

// withRetirement writes how far a retirement has come, on the condition that it was not written meanwhile, and something else with it.
func (s *Store) withRetirement(ctx context.Context, r wire.Retirement, conditions []clientv3.Cmp, writes []clientv3.Op) (wire.Retirement, error) {
	kept := r
	kept.Revision = 0
	write, err := put(retirementKey, kept)
	if err != nil {
		return r, err
	}
	revision, ok, err := s.commit(ctx, "keep the retirement of evidence", append(conditions, unchanged(retirementKey, r.Revision)), append(writes, write))
	if err == nil && !ok {
		err = errs.New(errs.Conflict, "the retirement of evidence, or what it takes out, has gone on meanwhile")
	}
	r.Revision = revision
	return r, err
}

// RetireRun marks a run as retired and takes out what belongs to it beside its journal, whose entries are leaves of the log: its program, what was handed
// in, what was said to its orders. Errors: conflict where the run, or the retirement, has gone on since it was read.
func (s *Store) RetireRun(ctx context.Context, r wire.Retirement, head wire.Run) (wire.Retirement, error) {
	files, err := listOf[storedAttachment](ctx, s, attachedPrefix+head.ID+"/", wire.Fresh)
	if err != nil {
		return r, err
	}
	counted, _, err := s.get(ctx, attachedKey, wire.Fresh)
	if err != nil {
		return r, err
	}
	conditions := []clientv3.Cmp{unchanged(runsPrefix+head.ID, head.Revision)}
	kept := head
	kept.Revision, kept.RetiredAt = 0, s.now()
	write, err := put(runsPrefix+head.ID, kept)
	if err != nil {
		return r, err
	}
	writes := []clientv3.Op{write, clientv3.OpDelete(Root + programsPrefix + head.ID)}
	for _, prefix := range []string{programsPrefix, attachedPrefix, attachedParts, orderWordsPrefix, orderPartsPrefix} {
		writes = append(writes, clientv3.OpDelete(Root+prefix+head.ID+"/", clientv3.WithPrefix()))
	}
	if len(files) > 0 && counted.modified != 0 {
		total, err := decode[int](counted)
		if err != nil {
			return r, err
		}
		for _, f := range files {
			total -= f.Size
		}
		sum, err := put(attachedKey, max(total, 0))
		if err != nil {
			return r, err
		}
		conditions, writes = append(conditions, unchanged(attachedKey, counted.modified)), append(writes, sum)
	}
	r.Runs++
	return s.withRetirement(ctx, r, conditions, writes)
}

// RetireLeaves goes through the leaves that were added to the evidence log at once, from r.Next on, which is the first of them. In the place of those for
// which goes gives a hash stands the hash from then on, and they are counted; then they are taken out, and r.Next is behind them. After an interruption it
// is called again.
func (s *Store) RetireLeaves(ctx context.Context, r wire.Retirement, goes func(index int64) (hash string)) (wire.Retirement, error) {
	key := fmt.Sprintf("%s%014d", logBatchesPrefix, r.Next)
	e, _, err := s.get(ctx, key, wire.Fresh)
	if err != nil {
		return r, err
	}
	if e.modified == 0 {
		return r, errs.New(errs.Internal, "the evidence log has no leaves that were added at %d", r.Next)
	}
	refs, err := decode[[]wire.LogRef](e)
	if err != nil {
		return r, err
	}
	before := r.Entries
	var leaves []clientv3.Op
	for i := range refs {
		ref := &refs[i]
		if ref.Hash == "" {
			if ref.Hash = goes(r.Next + int64(i)); ref.Hash != "" {
				r.Entries++
			}
		}
		if ref.Hash != "" {
			leaves = append(leaves, clientv3.OpDelete(Root+ref.Key))
		}
	}
	if r.Entries > before {
		write, err := put(key, refs)
		if err != nil {
			return r, err
		}
		if r, err = s.withRetirement(ctx, r, []clientv3.Cmp{unchanged(key, e.modified)}, []clientv3.Op{write}); err != nil {
			return r, err
		}
	}
	for some := range slices.Chunk(leaves, retireAtOnce) {
		if _, _, err := s.commit(ctx, "retire leaves of the evidence log", nil, some); err != nil {
			return r, err
		}
	}
	r.Next += int64(len(refs))
	return s.withRetirement(ctx, r, nil, nil)
}

// retired says of a run that it was, where it was.
func (s *Store) retired(ctx context.Context, id string) error {
	head, err := s.Run(ctx, id, wire.Fresh)
	if err != nil {
		return err
	}
	if head.RetiredAt == 0 {
		return nil
	}
	return errs.New(errs.NotFound, "run %s was retired on %s: its journal is in its pack, beside the export of the evidence log", id, time.UnixMilli(head.RetiredAt).UTC().Format(time.DateOnly))
}
