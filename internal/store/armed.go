package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/measure"
	"perdure/internal/wire"
)

func armedKey(a measure.Armed) (string, error) {
	if err := checkName("plan", a.Plan); err != nil {
		return "", err
	}
	return armedPrefix + a.Plan + "/" + a.Name, checkName("armed run", a.Name)
}

// Armed lists what was found of the armed runs, in the order of their plans and names.
func (s *Store) Armed(ctx context.Context, r wire.Read) ([]measure.Armed, error) {
	entries, _, err := s.list(ctx, armedPrefix, r)
	if err != nil {
		return nil, err
	}
	list := make([]measure.Armed, 0, len(entries))
	for _, e := range entries {
		a, err := decode[measure.Armed](e)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// KeepArmed keeps what was found of an armed run. Where it stands otherwise than before, the log says so.
func (s *Store) KeepArmed(ctx context.Context, who string, a measure.Armed) error {
	key, err := armedKey(a)
	if err != nil {
		return err
	}
	write, err := put(key, a)
	if err != nil {
		return err
	}
	have, _, err := s.get(ctx, key, wire.Fresh)
	if err != nil {
		return err
	}
	var before measure.Armed
	if have.modified != 0 {
		if before, err = decode[measure.Armed](have); err != nil {
			return err
		}
	}
	writes := []clientv3.Op{write}
	if state := a.State(a.Looked); state != before.State(before.Looked) || before.Print != a.Print {
		event, err := s.event(have.modified, wire.Event{Who: who, What: "armed." + string(state), Subject: a.Plan + "/" + a.Name}, a)
		if err != nil {
			return err
		}
		writes = append(writes, event)
	}
	_, _, err = s.commit(ctx, "keep what was found of armed run "+a.Plan+"/"+a.Name, []clientv3.Cmp{unchanged(key, have.modified)}, writes)
	return err
}

// DropArmed forgets an armed run that no plan names any more.
func (s *Store) DropArmed(ctx context.Context, who string, a measure.Armed) error {
	key, err := armedKey(a)
	if err != nil {
		return err
	}
	event, err := s.event(0, wire.Event{Who: who, What: "armed.dropped", Subject: a.Plan + "/" + a.Name}, nil)
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "forget armed run "+a.Plan+"/"+a.Name, nil, []clientv3.Op{clientv3.OpDelete(Root + key), event})
	return err
}
