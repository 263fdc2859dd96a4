package agent

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// owning refuses what only the open owner may be asked for.
func (a *Agent) owning() (unit.Record, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rec := a.group.Record
	if rec.State != unit.Open || rec.Owner != a.self.Now() {
		return rec, errs.New(errs.Conflict, "%s does not own %s", a.opts.Member, a.opts.Group)
	}
	return rec, nil
}

// fork says when the newest record was made that is left from before people accepted a loss. Receipts that are younger may be lost.
func (a *Agent) fork(ctx context.Context, _ []byte) (any, error) {
	rec, err := a.owning()
	if err != nil {
		return nil, err
	}
	answer := wire.ForkAnswer{Ownership: rec.Ownership}
	if until := rec.UntilLoss(); until != nil {
		answer.At, err = a.db.Newest(ctx, until)
	}
	if r := rec.Policy.Retention; r > 0 {
		answer.Kept = time.Now().Add(-r)
	}
	return answer, err
}

// missing says which keys are not recorded here, for the estimate of a loss (I10). Copies answer too: it is them that are asked.
func (a *Agent) missing(ctx context.Context, body []byte) (any, error) {
	var ask wire.MissingRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, errs.New(errs.Invalid, "request for missing keys: %w", err)
	}
	if len(ask.Keys) > 0 {
		missing, err := a.db.Missing(ctx, ask.Keys)
		return wire.MissingAnswer{Missing: missing}, err
	}
	newest, err := a.db.Newest(ctx, nil)
	if err != nil {
		return nil, err
	}
	a.count(ctx) // the report may be a second old, and a copy goes on while its owner is being lost
	a.mu.Lock()
	defer a.mu.Unlock()
	return wire.MissingAnswer{Tally: a.status.Tally, Newest: newest}, nil
}

// records says what is recorded under keys, while this is the owner: before it is looked, and behind the barrier still (I3).
func (a *Agent) records(ctx context.Context, body []byte) (any, error) {
	var ask wire.RecordsRequest
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, errs.New(errs.Invalid, "request for records: %w", err)
	}
	rec, err := a.owning()
	if err != nil {
		return nil, err
	}
	found, err := a.db.Records(ctx, ask.Keys)
	if err != nil {
		return nil, err
	}
	switch after, err := a.owning(); {
	case err != nil:
		return nil, err
	case after.Ownership != rec.Ownership:
		return nil, errs.New(errs.Conflict, "%s owned %s in %s, and owns it in %s now: ask again", a.opts.Member, a.opts.Group, rec.Ownership, after.Ownership)
	}
	return wire.RecordsAnswer{Ownership: rec.Ownership, Records: found}, nil
}

// judge writes the verdicts on the accounts of a quarantined unit (I7).
func (a *Agent) judge(ctx context.Context, body []byte) (any, error) {
	var ask driver.Judgement
	if err := json.Unmarshal(body, &ask); err != nil {
		return nil, errs.New(errs.Invalid, "judgement: %w", err)
	}
	rec, err := a.owning()
	if err != nil {
		return nil, err
	}
	if !rec.Quarantine || ask.Quarantine != rec.QuarantineOf {
		return nil, errs.New(errs.Conflict, "cannot judge the accounts of %s: what was found is of the quarantine of %s, not of the present one", a.opts.Group, ask.Quarantine)
	}
	for _, u := range rec.Units {
		if !slices.Contains(ask.Units, u) {
			return nil, errs.Refuse("I7", "cannot judge the accounts of %s: receipts of unit %s were not compared, and its accounts lie in the same database", a.opts.Group, u)
		}
	}
	return a.db.Judge(ctx, ask)
}

// release ends the quarantine in the database, after the record says so.
func (a *Agent) release(ctx context.Context, _ []byte) (any, error) {
	rec, err := a.owning()
	if err != nil {
		return nil, err
	}
	fresh, err := a.store.Group(ctx, a.opts.Group)
	if err != nil {
		return nil, err
	}
	if fresh.Record.Quarantine {
		return nil, errs.New(errs.Conflict, "%s is in quarantine: the record has to be released first", a.opts.Group)
	}
	return struct{}{}, a.db.EndQuarantine(ctx, rec.Units)
}
