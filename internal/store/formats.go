package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// Formats reads in which format journals are kept, and what the nodes' programs read.
func (s *Store) Formats(ctx context.Context, r wire.Read) (wire.Formats, error) {
	_, now, err := s.journalFormat(ctx, r)
	if err != nil {
		return wire.Formats{}, err
	}
	nodes, err := listOf[wire.NodeFormats](ctx, s, nodesPrefix, r)
	return wire.Formats{Journal: now, Nodes: nodes}, err
}

func (s *Store) journalFormat(ctx context.Context, r wire.Read) (entry, wire.JournalFormat, error) {
	now := wire.JournalFormat{Format: run.Oldest}
	e, _, err := s.get(ctx, formatKey, r)
	if err == nil && e.modified != 0 {
		now, err = decode[wire.JournalFormat](e)
	}
	if err == nil && now.Format <= run.Newest {
		for known := s.format.Load(); known < int64(now.Format) && !s.format.CompareAndSwap(known, int64(now.Format)); {
			known = s.format.Load()
		}
	}
	return e, now, err
}

// writes is the format in which this program appends to journals: the store's as far as it is known.
func (s *Store) writes() run.Format { return max(run.Oldest, run.Format(s.format.Load())) }

// JournalFormat is the store's format as far as it is known: see LearnFormat.
func (s *Store) JournalFormat() run.Format { return s.writes() }

// LearnFormat looks in which format journals are kept now. Where the program reads another one only, that is refused (R9), with the way out.
func (s *Store) LearnFormat(ctx context.Context, self wire.NodeFormats, r wire.Read) error {
	_, now, err := s.journalFormat(ctx, r)
	if err != nil {
		return err
	}
	return readable(self, now)
}

func readable(self wire.NodeFormats, now wire.JournalFormat) error {
	switch {
	case now.Format > self.Newest:
		return errs.Refuse("R9", "the journals of this estate are kept in format %d since %s, and the program of node %s, version %s, reads formats %d to %d: it does nothing here. "+
			"Start version %s or a newer one; or, to go back for good, restore a snapshot that was taken before (perdure node restore)",
			now.Format, time.UnixMilli(now.At).UTC().Format(time.RFC3339), self.Node, self.Version, self.Oldest, self.Newest, now.Version)
	case now.Format < self.Oldest:
		return errs.Refuse("R9", "the journals of this estate are kept in format %d, and the program of node %s, version %s, reads formats %d to %d: it does nothing here. "+
			"Start a version that reads both formats %d and %d on every node first", now.Format, self.Node, self.Version, self.Oldest, self.Newest, now.Format, self.Oldest)
	}
	return nil
}

// Announce says what the program of a node reads. It is refused (R9) where that is not the store's format, and nothing is written then. From
// then on until the node announces something else the store's format is one that it reads.
func (s *Store) Announce(ctx context.Context, self wire.NodeFormats) error {
	if err := checkName("node", self.Node); err != nil {
		return err
	}
	for range conflictRetries {
		at, now, err := s.journalFormat(ctx, wire.Fresh)
		if err != nil {
			return err
		}
		if err := readable(self, now); err != nil {
			return err
		}
		write, err := put(nodesPrefix+self.Node, self)
		if err != nil {
			return err
		}
		_, ok, err := s.commit(ctx, "say what node "+self.Node+" reads", []clientv3.Cmp{unchanged(formatKey, at.modified)}, []clientv3.Op{write})
		if err != nil || ok {
			return err
		}
	}
	return errs.New(errs.Conflict, "cannot say what node %s reads: the format of journals keeps changing", self.Node)
}

// RaiseFormat has journals written in the newest format that all the members named read, once each of them has announced what it reads. The
// transaction holds only while none of them announces something else. raised is false where there is nothing to raise, or not yet.
func (s *Store) RaiseFormat(ctx context.Context, self wire.NodeFormats, members []string) (raised bool, err error) {
	at, now, err := s.journalFormat(ctx, wire.Local)
	if err != nil || len(members) == 0 {
		return false, err
	}
	announced, _, err := s.list(ctx, nodesPrefix, wire.Local)
	if err != nil {
		return false, err
	}
	next := wire.JournalFormat{Format: self.Newest, By: "node:" + self.Node, Version: self.Version, At: s.now()}
	conditions := []clientv3.Cmp{unchanged(formatKey, at.modified)}
	detail := map[string]string{}
	for _, m := range members {
		i := slices.IndexFunc(announced, func(e entry) bool { return e.key == nodesPrefix+m })
		if i < 0 {
			return false, nil
		}
		n, err := decode[wire.NodeFormats](announced[i])
		if err != nil {
			return false, err
		}
		next.Format = min(next.Format, n.Newest)
		detail[m] = fmt.Sprintf("version %s reads formats %d to %d", n.Version, n.Oldest, n.Newest)
		conditions = append(conditions, unchanged(announced[i].key, announced[i].modified))
	}
	if next.Format <= now.Format {
		return false, nil
	}
	write, err := put(formatKey, next)
	if err != nil {
		return false, err
	}
	event, err := s.event(0, wire.Event{Who: next.By, What: "estate.format", Subject: fmt.Sprintf("journals in format %d", next.Format)}, detail)
	if err != nil {
		return false, err
	}
	_, raised, err = s.commit(ctx, "raise the format of journals", conditions, []clientv3.Op{write, event})
	return raised, err
}
