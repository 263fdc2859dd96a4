package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Manifest reads the applied set of documents; before the first one it is empty, at revision 0.
func (s *Store) Manifest(ctx context.Context, r wire.Read) (wire.Manifest, error) {
	e, _, err := s.get(ctx, manifestKey, r)
	if err != nil || e.modified == 0 {
		return wire.Manifest{}, err
	}
	m, err := decode[wire.Manifest](e)
	m.Revision = e.modified
	return m, err
}

// ApplyManifest puts the whole set, and what it means for the groups' records, in one transaction, or nothing.
// The plan was made from the manifest at revision (0: there was none) and from the groups given; if any of them has changed
// since, or the node may not act, nothing happens. Approvals of windows that the set has not, or not like that, are dropped with it (W5).
func (s *Store) ApplyManifest(ctx context.Context, who, text string, revision int64, groups []wire.Group, plan wire.ManifestPlan) (wire.Manifest, error) {
	if err := s.o.MayAct(); err != nil {
		return wire.Manifest{}, err
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	digest := sha256.Sum256([]byte(text))
	m := wire.Manifest{Text: text, SHA256: hex.EncodeToString(digest[:]), By: who, At: s.now()}
	conditions, writes, err := s.planned(groups, plan)
	if err != nil {
		return wire.Manifest{}, err
	}
	write, err := put(manifestKey, m)
	if err != nil {
		return wire.Manifest{}, err
	}
	same, drop, dropped, err := s.standing(ctx, plan.Windows)
	if err != nil {
		return wire.Manifest{}, err
	}
	detail := map[string]any{"sha256": m.SHA256, "previous": revision, "diff": plan.Diff}
	if len(dropped) > 0 {
		detail["notApprovedAnyMore"] = dropped
	}
	event, err := s.event(revision, wire.Event{Who: who, What: "manifest.apply", Subject: "manifest"}, detail)
	if err != nil {
		return wire.Manifest{}, err
	}
	conditions = append(conditions, unchanged(manifestKey, revision), same)
	if len(plan.Takes) > 0 { // no run that was not looked at
		conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(Root+runsPrefix), "<", plan.Runs+1).WithPrefix())
	}
	at, ok, err := s.commit(ctx, "apply the manifest", conditions, append(append(writes, drop...), write, event))
	if err != nil {
		return wire.Manifest{}, err
	}
	if !ok {
		return wire.Manifest{}, errs.New(errs.Conflict, "cannot apply the manifest: it, a group's record or an approval of a window changed, or a run began, meanwhile; nothing was applied, look at the diff and apply again")
	}
	m.Revision = at
	return m, nil
}

// planned turns the plan into conditional writes on the groups' records.
func (s *Store) planned(groups []wire.Group, plan wire.ManifestPlan) (conditions []clientv3.Cmp, writes []clientv3.Op, err error) {
	have := map[string]wire.Group{}
	for _, g := range groups {
		have[groupsPrefix+string(g.Record.Group)] = g
	}
	for _, rec := range plan.Create {
		if err := checkName("group", string(rec.Group)); err != nil {
			return nil, nil, err
		}
		key := groupsPrefix + string(rec.Group)
		write, err := put(key, rec)
		if err != nil {
			return nil, nil, err
		}
		conditions, writes = append(conditions, unchanged(key, 0)), append(writes, write)
	}
	for _, a := range plan.Amend {
		key := groupsPrefix + string(a.Group)
		g, ok := have[key]
		if !ok {
			return nil, nil, errs.New(errs.Internal, "the manifest's plan amends group %q, which does not exist", a.Group)
		}
		next, err := unit.Apply(g.Record, a.Transition)
		if err != nil {
			return nil, nil, err
		}
		write, err := put(key, next)
		if err != nil {
			return nil, nil, err
		}
		conditions, writes = append(conditions, unchanged(key, g.Revision)), append(writes, write)
	}
	for _, group := range plan.Remove {
		key := groupsPrefix + string(group)
		g, ok := have[key]
		if !ok {
			return nil, nil, errs.New(errs.Internal, "the manifest's plan removes group %q, which does not exist", group)
		}
		conditions, writes = append(conditions, unchanged(key, g.Revision)), append(writes, clientv3.OpDelete(Root+key))
	}
	return conditions, writes, nil
}
