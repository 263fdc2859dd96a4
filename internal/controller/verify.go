package controller

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

const (
	// judgeBound is the longest a judgement of all accounts of a unit may take.
	judgeBound = 3 * time.Minute
	// touchedMost is how many accounts of lost writes an agent is told of; it reads 64 MiB at once.
	touchedMost = 500_000
	// shownMost bounds the list of lost receipts in an answer.
	shownMost = 1000
	// deadFor is how long before the decision to take over a lost site may have acknowledged its last write, where nobody says when it was lost.
	deadFor = time.Minute
	// unshipped is what a lost gateway may have acknowledged and not shipped although it was well: 0.2 s where nothing is slow.
	unshipped = 10 * time.Second
)

// Verify judges the accounts of a unit in quarantine, and those of all units of its group, by receipts kept outside the lost site and by
// the system's own query (I7). lostAt is a person's word that what is lost acknowledged nothing after it; zero: nobody says so. It may be
// repeated; later verdicts replace earlier ones.
func (c *Controller) Verify(ctx context.Context, person string, id estate.UnitID, query string, lostAt time.Time) (wire.VerifyAnswer, error) {
	began := time.Now()
	answer := wire.VerifyAnswer{Unit: id}
	g, err := c.find(ctx, id)
	if err != nil {
		return answer, err
	}
	if !g.Record.Quarantine {
		return answer, errs.New(errs.Conflict, "cannot verify %s: it is not in quarantine", id)
	}
	owner, ok := g.Record.Member(g.Record.Owner.Member)
	if !ok || g.Record.State != unit.Open {
		return answer, errs.New(errs.Unavailable, "cannot verify %s: it is %s", id, g.Record.State)
	}
	if c.receipts == nil {
		return answer, errs.New(errs.Unavailable, "cannot verify %s: no gateway that keeps receipts is configured, so no account can be cleared", id)
	}
	ctx, cancel := context.WithTimeout(ctx, judgeBound)
	defer cancel()
	fork, err := ask[wire.ForkAnswer](ctx, c.opts.Client, http.MethodPost, owner, "/v1/fork", wire.ForkRequest{})
	if err != nil {
		return answer, err
	}
	// Units of a group share one database, and a verdict is on an account of it: one unit whose receipts are not whole clears none.
	touched, said := map[string]bool{}, make([]string, 0, len(g.Record.Units))
	for _, u := range g.Record.Units {
		which := ""
		if len(g.Record.Units) > 1 {
			which = string(u) + ": "
		}
		source, err := c.touched(ctx, u, owner, fork, heldUntil(g.Record, lostAt), &answer, touched)
		if err != nil {
			return answer, errs.New(errs.Unavailable, "cannot verify %s: %s%w", id, which, err)
		}
		said = append(said, which+source)
	}
	answer.Source = strings.Join(said, "; ")
	answer.Judged, err = ask[driver.Judged](ctx, c.opts.Client, http.MethodPost, owner, "/v1/judge", driver.Judgement{
		Units: g.Record.Units, Quarantine: g.Record.QuarantineOf, Query: query, Touched: slices.Sorted(maps.Keys(touched)), By: person,
	})
	answer.Millis = time.Since(began).Milliseconds()
	return answer, err
}

// heldUntil is until when the receipts of lost gateways have to be held for accounts to be cleared by them: what such a gateway acknowledged
// in a time of which nobody has its receipts may have touched every account.
func heldUntil(rec unit.Record, lostAt time.Time) time.Time {
	if !lostAt.IsZero() {
		return lostAt.Add(-unshipped)
	}
	for _, p := range slices.Backward(rec.Past) {
		if p.Ownership.Less(rec.QuarantineOf) {
			return time.UnixMilli(p.Ended).Add(-deadFor)
		}
	}
	return time.Time{}
}

// touched adds the accounts of a unit's lost writes, and says where its receipts were kept.
func (c *Controller) touched(ctx context.Context, u estate.UnitID, owner unit.Member, fork wire.ForkAnswer, until time.Time, answer *wire.VerifyAnswer, touched map[string]bool) (string, error) {
	compared, unknown := int64(0), int64(0)
	counts := func(k Kept) bool {
		old := k.Ownership.Less(fork.Ownership)
		if old {
			compared++
		}
		return old
	}
	sources, err := c.lacking(ctx, u, owner, later(surelyThere(fork.At), fork.Kept), counts, func(k Kept) error {
		answer.Lost++
		if len(answer.LostShown) < shownMost {
			answer.LostShown = append(answer.LostShown, k.Receipt)
		}
		if k.Unknown {
			unknown++
		}
		for _, a := range k.Accounts {
			touched[a] = true
		}
		if len(touched) > touchedMost {
			return errs.New(errs.Refused, "acknowledged writes without effect touched more than %d accounts: compare the books by hand, then release the unit", touchedMost)
		}
		return nil
	})
	answer.Receipts += compared
	switch {
	case err != nil:
		return "", errs.New(errs.Unavailable, "its receipts could not all be compared, so no account can be cleared: %w", err)
	case len(sources.Missing) > 0:
		return "", errs.New(errs.Unavailable, "gateway %s does not answer and nobody has a copy of its receipts, so no account can be cleared; release it by your own word", strings.Join(sources.Missing, ", "))
	case !fork.At.IsZero() && sources.From.After(fork.At):
		return "", errs.New(errs.Unavailable, "receipts are whole from %s on only, and count from %s on (%s); release it by your own word", stamp(sources.From), stamp(fork.At), sources.Said)
	case !sources.Until.IsZero() && sources.Until.Before(until):
		return "", errs.New(errs.Unavailable, "the receipts of what is lost end at %s, and it may have acknowledged more until %s (%s); if it is known when it was lost, say so (--lost-at), otherwise release the unit by your own word", stamp(sources.Until), stamp(until), sources.Said)
	case unknown > 0:
		return "", errs.New(errs.Unavailable, "%d acknowledged writes have no effect here and nobody knows which accounts they were about; release the unit by your own word", unknown)
	case compared == 0:
		return "", errs.New(errs.Unavailable, "no receipt from before the loss is kept (%s), which proves nothing; release it by your own word", sources.Said)
	}
	said := sources.Said
	if !sources.Until.IsZero() {
		said += "; what was acknowledged after " + stamp(sources.Until) + " by a gateway that is lost is not covered"
	}
	return said, nil
}

// Release ends the quarantine of a unit: in the record first, then in the database.
func (c *Controller) Release(ctx context.Context, person string, id estate.UnitID, request wire.ReleaseRequest) (wire.SwitchAnswer, error) {
	answer, err := c.act(ctx, person, id, unit.Transition{Kind: unit.Release, Reason: request.Reason})
	if err != nil && errs.KindOf(err) != errs.Conflict {
		return answer, err
	}
	g, ferr := c.find(ctx, id)
	if ferr != nil {
		return answer, ferr
	}
	if g.Record.Quarantine {
		return answer, err
	}
	owner, _ := g.Record.Member(g.Record.Owner.Member)
	_, err = ask[struct{}](ctx, c.opts.Client, http.MethodPost, owner, "/v1/release", struct{}{})
	return answer, err
}
