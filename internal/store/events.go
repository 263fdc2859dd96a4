package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// EventsLimit is the most events one call gives.
const EventsLimit = 1000

// eventsOfARevision is more than the events that one transaction writes.
const eventsOfARevision = 128

// event is the write that adds an event. base is the store's revision before: it only orders the names;
// the order of events is the revision they were created at.
func (s *Store) event(base int64, e wire.Event, detail any) (clientv3.Op, error) {
	if detail != nil {
		data, err := json.Marshal(detail)
		if err != nil {
			return clientv3.Op{}, errs.New(errs.Internal, "cannot encode the detail of event %s: %w", e.What, err)
		}
		e.Detail = data
	}
	e.At = s.now()
	return put(fmt.Sprintf("%s%020d-%s", eventsPrefix, base, randomHex(8)), e)
}

// Note adds an event about something that is not itself in the store.
func (s *Store) Note(ctx context.Context, who, what, subject string, detail any) error {
	op, err := s.event(0, wire.Event{Who: who, What: what, Subject: subject}, detail)
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "write event "+what, nil, []clientv3.Op{op})
	return err
}

// Events gives limit events (1 to EventsLimit), or a few more where several share the last revision, with a revision above after, oldest first;
// with newest set, the last ones instead, oldest of them first.
func (s *Store) Events(ctx context.Context, after int64, limit int, newest bool, r wire.Read) ([]wire.Event, error) {
	limit = min(max(limit, 1), EventsLimit)
	order := clientv3.SortAscend
	if newest {
		order = clientv3.SortDescend
	}
	entries, _, err := s.list(ctx, eventsPrefix, r, clientv3.WithMinCreateRev(after+1), clientv3.WithSort(clientv3.SortByCreateRevision, order), clientv3.WithLimit(int64(limit)+eventsOfARevision))
	if err != nil {
		return nil, err
	}
	end := min(limit, len(entries))
	for 0 < end && end < len(entries) && entries[end].created == entries[end-1].created { // who goes on behind it would miss the rest
		end++
	}
	entries = entries[:end]
	events := make([]wire.Event, 0, len(entries))
	for _, e := range entries {
		v, err := decode[wire.Event](e)
		if err != nil {
			return nil, err
		}
		v.Revision = e.created
		events = append(events, v)
	}
	if newest {
		slices.Reverse(events)
	}
	return events, nil
}

// randomHex gives n random bytes in hex; the system's source of randomness does not fail.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
