package store

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

// secretPrefixes are never watched: tokens, users and sessions have hashes in them, kept answers are their askers', and events and
// attachments are read by those who may.
func secretPrefixes() []string {
	return []string{tokensPrefix, eventsPrefix, usersPrefix, triesPrefix, sessionsPrefix, keyedPrefix, attachmentsPrefix}
}

// Watch gives what happens under the prefixes (relative to Root; none means everything but those) after the position,
// to handle, one call for all changes of one revision, until ctx ends or handle fails. It is served by the local member
// and goes on without a quorum.
//
// A position of another incarnation, an unknown one (revision 0), one that is not reached yet and one whose history is compacted begin with a
// reset: the whole state in one update. Updates without changes say only that everything up to their position was delivered.
func (s *Store) Watch(ctx context.Context, from wire.Position, prefixes []string, handle func(wire.Update) error) error {
	for _, p := range prefixes {
		for _, secret := range secretPrefixes() {
			if strings.HasPrefix(p, secret) || strings.HasPrefix(secret, p) && p != "" {
				return errs.New(errs.Forbidden, "%q cannot be watched", p)
			}
		}
	}
	w := &watcher{s: s, prefixes: prefixes, handle: handle, at: from}
	for ctx.Err() == nil {
		if err := w.once(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

type watcher struct {
	s        *Store
	prefixes []string
	handle   func(wire.Update) error
	at       wire.Position
}

// once runs one watch of the store. A nil error asks for another one from the position reached.
func (w *watcher) once(ctx context.Context) error {
	own, err := w.s.Incarnation(ctx, wire.Local)
	if err != nil {
		return err
	}
	if w.at.Revision == 0 || w.at.Incarnation != own.Incarnation || w.ahead(ctx) {
		if err := w.reset(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ch := w.s.c.Watch(ctx, Root, clientv3.WithPrefix(), clientv3.WithRev(w.at.Revision+1), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	for resp := range ch {
		if err := resp.Err(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, rpctypes.ErrCompacted) { // too old to resume: take the whole state
				w.at.Revision = 0
				return nil
			}
			return errs.New(errs.Unavailable, "the watch of the control store ended: %w", err)
		}
		if done, err := w.deliver(resp); done || err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return errs.New(errs.Unavailable, "the watch of the control store ended")
}

// ahead: the store has never come to the position, so nothing would be delivered for a long time. The local member alone may lag behind; what cannot be told
// is taken for true.
func (w *watcher) ahead(ctx context.Context) bool {
	for _, r := range []wire.Read{wire.Local, wire.Fresh} {
		if _, at, err := w.s.get(ctx, incarnationKey, r); err != nil || w.at.Revision <= at {
			return false
		}
	}
	return true
}

// deliver hands on one answer, split by revision. done asks for a new watch: the incarnation changed.
func (w *watcher) deliver(resp clientv3.WatchResponse) (done bool, err error) {
	for i := 0; i < len(resp.Events); {
		revision := resp.Events[i].Kv.ModRevision
		update := wire.Update{}
		for ; i < len(resp.Events) && resp.Events[i].Kv.ModRevision == revision; i++ {
			e := resp.Events[i]
			key := strings.TrimPrefix(string(e.Kv.Key), Root)
			if key == incarnationKey && e.Type == clientv3.EventTypePut {
				next, err := decode[wire.Incarnation](entry{key: key, value: e.Kv.Value})
				if err != nil {
					return false, err
				}
				done = done || next.Incarnation != w.at.Incarnation
			}
			if w.wants(key) {
				update.Changes = append(update.Changes, change(e))
			}
		}
		if done {
			return true, nil
		}
		w.at.Revision = revision
		update.Position = w.at
		if len(update.Changes) > 0 {
			if err := w.handle(update); err != nil {
				return false, err
			}
		}
	}
	if len(resp.Events) == 0 && !resp.Created && resp.Header.Revision > w.at.Revision {
		w.at.Revision = resp.Header.Revision // a progress notice: everything up to here was delivered
	}
	return false, w.handle(wire.Update{Position: w.at, Heartbeat: true})
}

func change(e *clientv3.Event) wire.Change {
	c := wire.Change{Key: strings.TrimPrefix(string(e.Kv.Key), Root), Revision: e.Kv.ModRevision}
	if e.Type == clientv3.EventTypeDelete {
		c.Deleted = true
	} else {
		c.Value = e.Kv.Value
	}
	return c
}

// reset reads the whole state at one revision and hands it on.
func (w *watcher) reset(ctx context.Context) error {
	ctx, cancel := w.s.limit(ctx)
	defer cancel()
	// One read-only transaction: all parts are of the same revision.
	ops := []clientv3.Op{clientv3.OpGet(Root+incarnationKey, clientv3.WithSerializable())}
	prefixes := w.prefixes
	if len(prefixes) == 0 {
		prefixes = []string{""}
	}
	for _, p := range prefixes {
		ops = append(ops, clientv3.OpGet(Root+p, clientv3.WithPrefix(), clientv3.WithSerializable()))
	}
	resp, err := w.s.c.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return readError("read the whole state", err)
	}
	update := wire.Update{Reset: true}
	var own estate.Incarnation
	for i, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().Kvs {
			key := strings.TrimPrefix(string(kv.Key), Root)
			if i == 0 {
				v, err := decode[wire.Incarnation](entry{key: key, value: kv.Value})
				if err != nil {
					return err
				}
				own = v.Incarnation
				continue
			}
			if w.wants(key) {
				update.Changes = append(update.Changes, wire.Change{Key: key, Value: kv.Value, Revision: kv.ModRevision})
			}
		}
	}
	w.at = wire.Position{Incarnation: own, Revision: resp.Header.Revision}
	update.Position = w.at
	return w.handle(update)
}

func (w *watcher) wants(key string) bool {
	for _, secret := range secretPrefixes() {
		if strings.HasPrefix(key, secret) {
			return false
		}
	}
	if len(w.prefixes) == 0 {
		return true
	}
	for _, p := range w.prefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}
