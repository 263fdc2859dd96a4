// Package store is the control plane's state as typed values on etcd: groups' records, the manifest, registrations, tokens, people and their
// sessions, incidents and the history of ownership, the audit log, and the incarnation that all of it belongs to.
//
// Every change of a record is one transition, judged by unit.Apply and committed on the condition that the record is still
// at the revision it was judged on; the audit event is written by the same transaction (I1). The store is needed to change
// ownership, never to keep it (I8), so everything here has a deadline and says Unavailable rather than wait.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"perdure/internal/errs"
	"perdure/internal/person"
	"perdure/internal/wire"
)

// Root is where everything lies; keys in Watch are relative to it.
const Root = "/perdure/v1/"

// The prefixes below Root.
const (
	manifestKey          = "manifest"
	windowsKey           = "windows" // the approvals of windows of calendars
	incarnationKey       = "incarnation"
	formatKey            = "format" // of runs' journals; absent: 1
	nodesPrefix          = "nodes/" // what each node's program reads
	groupsPrefix         = "groups/"
	instancesPrefix      = "instances/"
	gatewaysPrefix       = "gateways/"
	membersPrefix        = "members/"
	tokensPrefix         = "tokens/"
	eventsPrefix         = "events/"
	divergencesPrefix    = "divergences/"
	runsPrefix           = "runs/"
	programsPrefix       = "programs/"
	journalsPrefix       = "journals/"
	runnersPrefix        = "runners/"
	locksPrefix          = "locks/"
	usersPrefix          = "users/"
	triesPrefix          = "tries/"
	sessionsPrefix       = "sessions/"
	signingPrefix        = "signing/"  // whose a key is, by its ID: each is given once for ever
	subjectsPrefix       = "subjects/" // who somebody of a provider of single sign-on is here
	policyKey            = "policy"
	logHeadKey           = "log/head"
	logBatchesPrefix     = "log/batches/"
	checkpointKey        = "log/checkpoint"
	logKeysPrefix        = "log/keys/"
	retirementKey        = "log/retirement"
	incidentsPrefix      = "incidents/"
	gapsPrefix           = "gaps/"
	keyedPrefix          = "keyed/"
	rectificationsPrefix = "rectifications/"
	armedPrefix          = "armed/" // what was found of armed runs, by plan and name
	// Orders of runs: at a glance; word for word, RUN/SEQ; and the text of long words, RUN/SHA256/NUMBER.
	orderHeadsPrefix = "orders/heads/"
	orderWordsPrefix = "orders/words/"
	orderPartsPrefix = "orders/parts/"
	// Files that were handed in with tasks: what is kept of each, RUN/SHA256/STEP; their bytes, RUN/SHA256/NUMBER; and how many bytes there are.
	attachmentsPrefix = "attachments/"
	attachedPrefix    = attachmentsPrefix + "of/"
	attachedParts     = attachmentsPrefix + "parts/"
	attachedKey       = attachmentsPrefix + "total"
)

// Options configure a Store.
type Options struct {
	// Node names the node in the audit log.
	Node string
	// Timeout bounds every operation (default 2 s).
	Timeout time.Duration
	// MayAct is asked before ownership changes (I10); nil always allows.
	MayAct func() error
	// RunnerTTL is for how many seconds at least a run waits for a runner that was lost (default 4).
	RunnerTTL int64
	// Cost is that of hashes of passwords (default person.Usual).
	Cost person.Cost
	// HasLeader lets calls that need the quorum fail at once where there is none; nil lets them run into their deadline.
	HasLeader func(ctx context.Context) bool
	// Now gives the wall clock, for display only (default time.Now).
	Now    func() time.Time
	Logger *slog.Logger
}

// Store reads and writes the control plane's state. It is safe for concurrent use and owns no goroutine.
type Store struct {
	c *clientv3.Client
	o Options
	// hashing bounds the memory that hashes of passwords take at a time; derive makes them.
	hashing chan struct{}
	// format is the newest one of journals that is known to be the store's; it only grows, so an older one that is still written can be read.
	format *atomic.Int64
	derive func(password string, salt []byte, c person.Cost) person.Keys
}

// New makes a store on a client, which stays the caller's to close.
func New(c *clientv3.Client, o Options) *Store {
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	if o.RunnerTTL == 0 {
		o.RunnerTTL = runnerTTL
	}
	if o.MayAct == nil {
		o.MayAct = func() error { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Cost == (person.Cost{}) {
		o.Cost = person.Usual()
	}
	return &Store{c: c, o: o, hashing: make(chan struct{}, hashesAtATime), format: &atomic.Int64{}, derive: person.Derive}
}

// quorum refuses at once what could only run into its deadline.
func (s *Store) quorum(ctx context.Context, what string) error {
	if s.o.HasLeader == nil || s.o.HasLeader(ctx) {
		return nil
	}
	return errs.New(errs.Unavailable, "cannot %s: the control store has no quorum now; databases and gateways go on meanwhile, try again", what)
}

func (s *Store) now() int64 { return s.o.Now().UnixMilli() }

func (s *Store) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.o.Timeout)
}

func options(r wire.Read) []clientv3.OpOption {
	if r == wire.Local {
		return []clientv3.OpOption{clientv3.WithSerializable()}
	}
	return nil
}

// entry is a value as it lies in the store.
type entry struct {
	key      string // relative to Root
	value    []byte
	created  int64
	modified int64
	lease    clientv3.LeaseID
}

// get reads one key; a missing key is an entry with modified 0. The store's revision at the read comes with it.
func (s *Store) get(ctx context.Context, key string, r wire.Read) (entry, int64, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	if r != wire.Local {
		if err := s.quorum(ctx, "read "+key); err != nil {
			return entry{}, 0, err
		}
	}
	resp, err := s.c.Get(ctx, Root+key, options(r)...)
	if err != nil {
		return entry{}, 0, readError("read "+key, err)
	}
	if len(resp.Kvs) == 0 {
		return entry{key: key}, resp.Header.Revision, nil
	}
	kv := resp.Kvs[0]
	return entry{key: key, value: kv.Value, created: kv.CreateRevision, modified: kv.ModRevision, lease: clientv3.LeaseID(kv.Lease)}, resp.Header.Revision, nil
}

// list reads all keys with the prefix, in the order of their names.
func (s *Store) list(ctx context.Context, prefix string, r wire.Read, more ...clientv3.OpOption) ([]entry, int64, error) {
	return s.listFrom(ctx, prefix, prefix, r, more...)
}

// listFrom is list from a key on.
func (s *Store) listFrom(ctx context.Context, prefix, from string, r wire.Read, more ...clientv3.OpOption) ([]entry, int64, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	if r != wire.Local {
		if err := s.quorum(ctx, "list "+prefix); err != nil {
			return nil, 0, err
		}
	}
	more = append(append(more, clientv3.WithRange(clientv3.GetPrefixRangeEnd(Root+prefix))), options(r)...)
	resp, err := s.c.Get(ctx, Root+from, more...)
	if err != nil {
		return nil, 0, readError("list "+prefix, err)
	}
	entries := make([]entry, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		entries[i] = entry{
			key: strings.TrimPrefix(string(kv.Key), Root), value: kv.Value,
			created: kv.CreateRevision, modified: kv.ModRevision, lease: clientv3.LeaseID(kv.Lease),
		}
	}
	return entries, resp.Header.Revision, nil
}

// commit runs one conditional transaction. ok is false where a condition did not hold; then nothing was written. Under a key, see Under,
// it is refused where another request changed something under that key.
func (s *Store) commit(ctx context.Context, what string, conditions []clientv3.Cmp, writes []clientv3.Op) (revision int64, ok bool, err error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	if err := s.quorum(ctx, what); err != nil {
		return 0, false, err
	}
	k := keyedOf(ctx)
	conditions, writes, refused, err := k.with(ctx, s.c, conditions, writes)
	if err != nil {
		return 0, false, err
	}
	resp, err := s.c.Txn(ctx).If(conditions...).Then(writes...).Else(refused...).Commit()
	if err != nil {
		return 0, false, writeError(what, err)
	}
	return resp.Header.Revision, resp.Succeeded, k.done(resp)
}

func unchanged(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(Root+key), "=", revision)
}

func put(key string, v any, options ...clientv3.OpOption) (clientv3.Op, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return clientv3.Op{}, errs.New(errs.Internal, "cannot encode %s: %w", key, err)
	}
	return clientv3.OpPut(Root+key, string(data), options...), nil
}

func decode[T any](e entry) (T, error) {
	var v T
	if err := json.Unmarshal(e.value, &v); err != nil {
		return v, errs.New(errs.Internal, "the store's value of %s cannot be read: %w", e.key, err)
	}
	return v, nil
}

// listOf reads all values with the prefix.
func listOf[T any](ctx context.Context, s *Store, prefix string, r wire.Read) ([]T, error) {
	entries, _, err := s.list(ctx, prefix, r)
	if err != nil {
		return nil, err
	}
	values := make([]T, 0, len(entries))
	for _, e := range entries {
		v, err := decode[T](e)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// checkName refuses what cannot be one part of a key.
func checkName(what, name string) error {
	if name == "" || len(name) > 128 {
		return errs.New(errs.Invalid, "%s %q: give 1 to 128 characters", what, name)
	}
	for _, r := range name {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' || r == ':'
		if !ok {
			return errs.New(errs.Invalid, "%s %q: only letters, digits, '-', '_', '.' and ':' are allowed", what, name)
		}
	}
	return nil
}

// readError maps what a read can end in: nothing happened, so all of it is Unavailable.
func readError(what string, err error) error {
	if known := plain(what, err); known != nil {
		return known
	}
	return errs.New(errs.Unavailable, "cannot %s: the control store has no quorum or does not answer in time; databases and gateways go on meanwhile, try again: %w", what, err)
}

// writeError maps what a write can end in. A time-out may hide a success, so it is Unknown.
func writeError(what string, err error) error {
	if known := plain(what, err); known != nil {
		return known
	}
	switch {
	case errors.Is(err, rpctypes.ErrNoLeader), errors.Is(err, rpctypes.ErrTooManyRequests), errors.Is(err, rpctypes.ErrNotCapable):
		return errs.New(errs.Unavailable, "cannot %s: the control store has no quorum or is overloaded; try again: %w", what, err)
	}
	return errs.New(errs.Unknown, "cannot %s for sure: the control store did not confirm in time, so it may have happened; read again before repeating: %w", what, err)
}

// plain maps what means the same for reads and writes.
func plain(what string, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace), errors.Is(err, rpctypes.ErrGRPCNoSpace):
		return errs.New(errs.Unavailable, "cannot %s: the control store has reached its space quota (NOSPACE alarm); nothing was written and databases and gateways go on; "+
			"free space with POST /api/v1/estate/reclaim on each node (reclaim), or raise the quota: %w", what, err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return errs.New(errs.Invalid, "cannot %s: it is larger than the control store takes in one transaction: %w", what, err)
	case errors.Is(err, rpctypes.ErrCorrupt):
		return errs.New(errs.Unavailable, "cannot %s: a member of the control store is corrupt; replace it with an empty one: %w", what, err)
	}
	if s, ok := status.FromError(err); ok {
		if code := s.Code(); code == codes.Unauthenticated || code == codes.PermissionDenied {
			return errs.New(errs.Unavailable, "cannot %s: the external store refuses this node's credentials: %w", what, err)
		}
	}
	return nil
}
