package lab

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/history"
	"perdure/internal/lab/ledger"
	"perdure/internal/lab/story"
)

// finish ends the load, lets the checker judge the estate and ends it. After a failure as much as possible is still judged.
func (l *Lab) finish(ctx context.Context, failed bool) error {
	r := l.running
	defer func() {
		r.close()
		l.running = nil
	}()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failed {
		// What is broken would only make the settling of calls fail too.
		_ = r.heal(ctx, story.Heal{All: true})
	}
	err := r.loadStop(ctx)
	if err == nil {
		err = r.awaitOutbox(ctx)
	}
	if terr := r.takeDown(ctx); err == nil {
		err = terr
	}
	facts, ferr := r.facts(ctx)
	if err == nil {
		err = ferr
	}
	if cerr := r.hist.Close(); err == nil {
		err = cerr
	}
	if facts == nil {
		facts = &checker.Contents{}
	}
	v, verr := checker.Check(ctx, checker.Inputs{History: history.Read(r.path), Facts: facts})
	if verr != nil {
		return errs.New(errs.KindOf(verr), "the run cannot be judged: %w", verr)
	}
	l.results = append(l.results, result{estate: r.name, history: r.path, verdict: v})
	return err
}

// outboxWait bounds how long money may stay on its way after the load.
const outboxWait = 30 * time.Second

// awaitOutbox waits until every message of every unit is delivered. What stays on its way is money in flight: the checker counts it.
func (r *running) awaitOutbox(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, outboxWait)
	defer cancel()
	_ = until(ctx, "messages are on their way", func() error {
		groups, err := r.groups(ctx)
		if err != nil {
			return err
		}
		for _, g := range groups {
			n, err := r.waiting(ctx, g.Record.Owner.Member)
			if err != nil {
				return err
			}
			if n > 0 {
				return errs.New(errs.Unavailable, "%d messages of %s", n, g.Record.Group)
			}
		}
		return nil
	})
	return nil
}

func (r *running) waiting(ctx context.Context, m estate.MemberID) (int, error) {
	dir, _ := r.layout.DataDir(m)
	conn, err := ledger.Connect(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return ledger.Waiting(ctx, conn)
}

// facts reads the final owner of each group.
func (r *running) facts(ctx context.Context) (*checker.Contents, error) {
	groups, err := r.groups(ctx)
	if err != nil {
		return nil, err
	}
	s, err := r.plan.system()
	if err != nil {
		return nil, err
	}
	all := &checker.Contents{}
	for _, g := range groups {
		var units []ledger.Unit
		for _, u := range s.Units {
			if u.Group == g.Record.Group {
				units = append(units, ledger.Unit{ID: u.Name, Owns: func(slot int) bool { return u.Slots.Contains(estate.Slot(slot)) }})
			}
		}
		dir, ok := r.layout.DataDir(g.Record.Owner.Member)
		if !ok || len(units) == 0 {
			continue
		}
		if err := readOwner(ctx, dir, units, all); err != nil {
			return all, errs.New(errs.Unavailable, "the owner of %s cannot be read: %w", g.Record.Group, err)
		}
	}
	return all, nil
}

func readOwner(ctx context.Context, dir string, units []ledger.Unit, into *checker.Contents) error {
	conn, err := ledger.Connect(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return ledger.Read(ctx, conn, units, into)
}

// writeResults leaves the verdict in the lab's folder.
func writeResults(dir string, v checker.Verdict, failure error) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "verdict.json"), append(text, '\n'), 0o644)
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write the verdict: %w", err)
	}
	return nil
}
