package agent

import (
	"context"
	"slices"
	"time"

	"perdure/internal/estate"
)

const (
	forgetEvery = time.Minute
	forgetBound = 10 * time.Second
)

// keepForgetting drops what this server keeps for members that have left the group: their slots would hold log back up to the bound of the
// server, and who has left could still stream. Nothing waits for it.
func (a *Agent) keepForgetting(ctx context.Context) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := a.forget(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("what is kept for members that have left the group is not dropped yet", "err", err)
		}
	}
}

// forget drops the slots of those who are not named. A record that is behind may lack somebody who was just declared, so it is read again,
// linearizably, before anything is dropped (I15).
func (a *Agent) forget(ctx context.Context) error {
	a.mu.Lock()
	rec, answering := a.group.Record, a.known && a.seen.Answering
	a.mu.Unlock()
	if _, member := rec.Member(a.opts.Member); !answering || !member || rec.Switch.Active() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, forgetBound)
	defer cancel()
	a.mu.Lock()
	named := a.named()
	a.mu.Unlock()
	if strays, err := a.db.Strays(ctx, named); err != nil || len(strays) == 0 {
		return err
	}
	fresh, err := a.store.Group(ctx, a.opts.Group)
	if err != nil {
		return err
	}
	a.learn(fresh)
	a.admitting.Lock()
	defer a.admitting.Unlock()
	a.mu.Lock()
	now := a.group
	named = a.named()
	a.mu.Unlock()
	if now.Revision != fresh.Revision || now.Record.Ownership.Incarnation != fresh.Record.Ownership.Incarnation || now.Record.Switch.Active() {
		return nil
	}
	strays, err := a.db.Strays(ctx, named)
	if err != nil {
		return err
	}
	for _, s := range strays {
		if err := a.db.ForgetFollower(ctx, s); err != nil {
			return err
		}
		a.log.Info("a follower that is no member of the group any more was forgotten", "follower", s)
	}
	return nil
}

// named are the members of the record, and whoever commits wait for here, which may be somebody of an earlier record. The caller holds mu.
func (a *Agent) named() []estate.MemberID {
	var ids []estate.MemberID
	for _, m := range a.group.Record.Members {
		ids = append(ids, m.ID)
	}
	for _, l := range slices.Concat(a.group.Record.InSync, a.group.Record.Heirs) {
		ids = append(ids, l.Member)
	}
	for _, name := range a.seen.SyncNames {
		if l, err := estate.ParseLife(name); err == nil {
			ids = append(ids, l.Member)
		}
	}
	return ids
}
