package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/evidence"
	"perdure/internal/wire"
)

// logBatch is how many leaves are added to the evidence log at a time, unless one revision has more.
const logBatch = 200

// sources are the prefixes whose keys are leaves of the evidence log: each is written once and never changed.
func sources() []string { return []string{eventsPrefix, journalsPrefix} }

// GrowLog puts what has been written since into the evidence log, in the order of the revisions, and gives how far it has come. Whoever calls it,
// the store lets one win. grown is false where nothing was to be added or another node was faster.
func (s *Store) GrowLog(ctx context.Context) (head wire.LogHead, grown bool, err error) {
	e, _, err := s.get(ctx, logHeadKey, wire.Fresh)
	if err != nil {
		return head, false, err
	}
	if e.modified != 0 {
		if head, err = decode[wire.LogHead](e); err != nil {
			return head, false, err
		}
	}
	var refs []wire.LogRef
	var complete int64 // up to this revision everything was seen
	for _, prefix := range sources() {
		entries, at, err := s.list(ctx, prefix, wire.Fresh, clientv3.WithMinCreateRev(head.Revision+1), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend),
			clientv3.WithLimit(logBatch), clientv3.WithKeysOnly())
		if err != nil {
			return head, false, err
		}
		if n := len(entries); n == logBatch {
			at = entries[n-1].created - 1 // the last revision may have more
		}
		if complete == 0 || at < complete {
			complete = at
		}
		for _, e := range entries {
			refs = append(refs, wire.LogRef{Key: e.key, Revision: e.created})
		}
	}
	refs = slices.DeleteFunc(refs, func(r wire.LogRef) bool { return r.Revision > complete })
	if len(refs) == 0 {
		return head, false, nil
	}
	slices.SortFunc(refs, func(a, b wire.LogRef) int {
		if a.Revision != b.Revision {
			return int(a.Revision - b.Revision)
		}
		return strings.Compare(a.Key, b.Key)
	})
	next := wire.LogHead{Size: head.Size + int64(len(refs)), Revision: refs[len(refs)-1].Revision}
	headOp, err := put(logHeadKey, next)
	if err != nil {
		return head, false, err
	}
	batch, err := put(strings.TrimPrefix(batchKey(head.Size), Root), refs)
	if err != nil {
		return head, false, err
	}
	_, ok, err := s.commit(ctx, "grow the evidence log", []clientv3.Cmp{unchanged(logHeadKey, e.modified)}, []clientv3.Op{headOp, batch})
	if err != nil || !ok {
		return head, false, err
	}
	return next, true, nil
}

// LogRefs gives leaves of the evidence log from an index on, some at a time; none: there are no more. The index may lie within what was added at once:
// who was interrupted goes on where they were.
func (s *Store) LogRefs(ctx context.Context, from int64) ([]wire.LogRef, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	// The batch that the index lies in, or that ends at it, is the last one that begins at or before it.
	within, err := s.c.Get(ctx, Root+logBatchesPrefix, clientv3.WithRange(batchKey(from+1)), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return nil, readError("read the evidence log", err)
	}
	if len(within.Kvs) == 0 && from == 0 {
		return nil, nil
	}
	if len(within.Kvs) == 0 {
		return nil, errs.New(errs.Internal, "the evidence log has no leaf 0, and was read up to leaf %d", from)
	}
	resp, err := s.c.Get(ctx, string(within.Kvs[0].Key), clientv3.WithRange(clientv3.GetPrefixRangeEnd(Root+logBatchesPrefix)), clientv3.WithLimit(64))
	if err != nil {
		return nil, readError("read the evidence log", err)
	}
	var begin, next int64
	if _, err := fmt.Sscanf(strings.TrimPrefix(string(within.Kvs[0].Key), Root+logBatchesPrefix), "%d", &begin); err != nil {
		return nil, errs.New(errs.Internal, "the evidence log cannot be read: %w", err)
	}
	next = begin
	var out []wire.LogRef
	for _, kv := range resp.Kvs {
		if string(kv.Key) != batchKey(next) {
			return nil, errs.New(errs.Internal, "the evidence log has a gap at leaf %d", next)
		}
		refs, err := decode[[]wire.LogRef](entry{key: string(kv.Key), value: kv.Value})
		if err != nil {
			return nil, err
		}
		out, next = append(out, refs...), next+int64(len(refs))
	}
	if next < from {
		return nil, errs.New(errs.Internal, "the evidence log ends at leaf %d, and was read up to leaf %d", next, from)
	}
	return out[from-begin:], nil
}

// batchKey is the place of the leaves that were added at once from an index on.
func batchKey(from int64) string { return fmt.Sprintf("%s%s%014d", Root, logBatchesPrefix, from) }

// LogLeaf gives the bytes of a leaf.
func (s *Store) LogLeaf(ctx context.Context, ref wire.LogRef) ([]byte, error) {
	e, _, err := s.get(ctx, ref.Key, wire.Local)
	if err != nil {
		return nil, err
	}
	if e.created != ref.Revision || e.modified != ref.Revision {
		return nil, errs.New(errs.Internal, "leaf %s of the evidence log was written at revision %d, and is now of %d and %d: it was tampered with", ref.Key, ref.Revision, e.created, e.modified)
	}
	data, err := json.Marshal(evidence.Record{Key: ref.Key, Revision: ref.Revision, Value: e.value})
	if err != nil {
		return nil, errs.New(errs.Internal, "leaf %s of the evidence log cannot be written: %w", ref.Key, err)
	}
	return data, nil
}

// LogCheckpoint gives the newest checkpoint; size 0: there is none.
func (s *Store) LogCheckpoint(ctx context.Context) (wire.LogCheckpoint, error) {
	e, _, err := s.get(ctx, checkpointKey, wire.Fresh)
	if err != nil || e.modified == 0 {
		return wire.LogCheckpoint{}, err
	}
	return decode[wire.LogCheckpoint](e)
}

// PutLogCheckpoint keeps a checkpoint, unless there is one of the same size or a larger one.
func (s *Store) PutLogCheckpoint(ctx context.Context, c wire.LogCheckpoint) error {
	e, _, err := s.get(ctx, checkpointKey, wire.Fresh)
	if err != nil {
		return err
	}
	if e.modified != 0 {
		if have, err := decode[wire.LogCheckpoint](e); err != nil || have.Size >= c.Size {
			return err
		}
	}
	write, err := put(checkpointKey, c)
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "keep a checkpoint of the evidence log", []clientv3.Cmp{unchanged(checkpointKey, e.modified)}, []clientv3.Op{write})
	return err
}

// PutLogKey publishes a key that a node signs with. Keys are never taken back: what was signed with one stays signed, also where the node was made
// anew since.
func (s *Store) PutLogKey(ctx context.Context, k wire.LogKey) error {
	if err := checkName("node", k.Node); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(k.Key))
	key := logKeysPrefix + k.Node + "/" + hex.EncodeToString(sum[:8])
	e, head, err := s.get(ctx, key, wire.Fresh)
	if err != nil || e.modified != 0 {
		return err
	}
	write, err := put(key, k)
	if err != nil {
		return err
	}
	event, err := s.event(head, wire.Event{Who: "node:" + k.Node, What: "evidence.key", Subject: k.Node}, k)
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "publish the evidence key of node "+k.Node, []clientv3.Cmp{unchanged(key, 0)}, []clientv3.Op{write, event})
	return err
}

// LogKeys lists the keys that nodes sign with.
func (s *Store) LogKeys(ctx context.Context) ([]wire.LogKey, error) {
	return listOf[wire.LogKey](ctx, s, logKeysPrefix, wire.Fresh)
}
