package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// keyedSeconds is for how long the key of a change is kept: a day.
const keyedSeconds = 24 * 60 * 60

// keyed is a request that asks for a change under a key. The first change that is committed under it is committed together with the key.
type keyed struct {
	name  string // of the key's record
	lease clientv3.LeaseID
	told  wire.Keyed

	mu      sync.Mutex
	written bool
}

type keyedKey struct{}

func keyedOf(ctx context.Context) *keyed {
	k, _ := ctx.Value(keyedKey{}).(*keyed)
	return k
}

// apart is for what is written before the change that the request is about, and means nothing without it.
func apart(ctx context.Context) context.Context {
	return context.WithValue(ctx, keyedKey{}, (*keyed)(nil))
}

func keyedName(person, key string) string {
	sum := sha256.Sum256([]byte(person + "\x00" + key))
	return keyedPrefix + hex.EncodeToString(sum[:])
}

// Keyed gives what is kept of a person's request with the key; ok is false where nothing was changed under it.
func (s *Store) Keyed(ctx context.Context, person, key string) (kept wire.Keyed, ok bool, err error) {
	e, _, err := s.get(ctx, keyedName(person, key), wire.Fresh)
	if err != nil || e.modified == 0 {
		return kept, false, err
	}
	kept, err = decode[wire.Keyed](e)
	return kept, err == nil, err
}

// Under gives a context under which a change is made at most once for the person's key, whichever node it is asked of and however often.
func (s *Store) Under(ctx context.Context, person, key, fingerprint string) context.Context {
	return context.WithValue(ctx, keyedKey{}, &keyed{name: keyedName(person, key), told: wire.Keyed{Fingerprint: fingerprint, At: s.now()}})
}

// Answered keeps the answer of the request that ctx comes from, for whoever repeats it. Where nothing was changed under its key, nothing
// is kept: a repetition is a new try.
func (s *Store) Answered(ctx context.Context, a wire.KeptAnswer) error {
	k := keyedOf(ctx)
	if k == nil {
		return nil
	}
	k.mu.Lock()
	told, written := k.told, k.written
	k.mu.Unlock()
	if !written {
		return nil
	}
	told.Answer = &a
	write, err := put(k.name, told, clientv3.WithLease(k.lease))
	if err != nil {
		return err
	}
	_, _, err = s.commit(apart(ctx), "keep the answer of a request", nil, []clientv3.Op{write})
	return err
}

// with adds the key to a transaction, and gives what reads it where the transaction is refused.
func (k *keyed) with(ctx context.Context, c *clientv3.Client, conditions []clientv3.Cmp, writes []clientv3.Op) ([]clientv3.Cmp, []clientv3.Op, []clientv3.Op, error) {
	if k == nil {
		return conditions, writes, nil, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.written {
		return conditions, writes, nil, nil
	}
	if k.lease == 0 {
		lease, err := c.Grant(ctx, keyedSeconds)
		if err != nil { // a lease without a key changes nothing
			return nil, nil, nil, errs.New(errs.Unavailable, "cannot keep the key of the request: %w", err)
		}
		k.lease = lease.ID
	}
	write, err := put(k.name, k.told, clientv3.WithLease(k.lease))
	if err != nil {
		return nil, nil, nil, err
	}
	return append(conditions[:len(conditions):len(conditions)], unchanged(k.name, 0)), append(writes[:len(writes):len(writes)], write),
		[]clientv3.Op{clientv3.OpGet(Root+k.name, clientv3.WithKeysOnly())}, nil
}

// done takes note of a transaction that with was part of; its error says that another request changed something under the key.
func (k *keyed) done(resp *clientv3.TxnResponse) error {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case resp.Succeeded:
		k.written = true
	case k.written, len(resp.Responses) == 0:
	case len(resp.Responses[0].GetResponseRange().GetKvs()) > 0:
		return errs.New(errs.Unavailable, "a request with the same Idempotency-Key is being carried out; repeat it in a moment")
	}
	return nil
}
