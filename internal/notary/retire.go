package notary

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"perdure/internal/errs"
	"perdure/internal/heldorder"
	"perdure/internal/incident"
	"perdure/internal/rectification"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// Retirements is what a notary needs of the store to retire what was exported (E7).
type Retirements interface {
	Policy(ctx context.Context, r wire.Read) (wire.Policy, error)
	Retirement(ctx context.Context) (wire.Retirement, error)
	BeginRetirement(ctx context.Context, who string, r wire.Retirement) (wire.Retirement, error)
	KeepRetirement(ctx context.Context, r wire.Retirement) (wire.Retirement, error)
	RetireRun(ctx context.Context, r wire.Retirement, head wire.Run) (wire.Retirement, error)
	RetireLeaves(ctx context.Context, r wire.Retirement, goes func(index int64) (hash string)) (wire.Retirement, error)
	Runs(ctx context.Context, r wire.Read) ([]wire.Run, error)
	Incidents(ctx context.Context, r wire.Read) ([]incident.Incident, error)
	Sheets(ctx context.Context, r wire.Read) ([]rectification.Sheet, error)
	OrderHeads(ctx context.Context, r wire.Read) ([]heldorder.Head, error)
}

// retireFor bounds how long the log does not grow because something is retired.
const retireFor = time.Second

// Retiring says what a retirement of what is older than an instant would take out, and what stays; zero: of what the policy lets go.
func (n *Notary) Retiring(ctx context.Context, before time.Time) (wire.Retiring, error) {
	policy, err := n.store.Policy(ctx, wire.Fresh)
	if err != nil {
		return wire.Retiring{}, err
	}
	out := wire.Retiring{RetentionDays: policy.RetentionDays, Runs: []wire.RetiringRun{}, Stay: []wire.StayingRun{}}
	last, err := n.store.Retirement(ctx)
	if err != nil {
		return out, err
	}
	if last.At != 0 {
		out.Last = &last
	}
	if policy.RetentionDays == nil {
		return out, nil
	}
	youngest := n.o.Now().AddDate(0, 0, -*policy.RetentionDays)
	switch {
	case before.IsZero():
		before = youngest
	case before.After(youngest):
		return out, errs.Refuse("E7", "evidence is kept for %d days: nothing that was written since %s may be retired", *policy.RetentionDays, youngest.UTC().Format(time.RFC3339))
	}
	out.Before = before.UnixMilli()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.read(ctx); err != nil {
		return out, err
	}
	out.Origin, out.Size = n.origin, n.tree.size
	j, err := n.judgement(ctx, wire.Retirement{Before: out.Before, Exported: n.tree.size, Size: n.tree.size})
	if err != nil {
		return out, err
	}
	for _, head := range j.heads {
		if !ended(head, out.Before) {
			continue
		}
		if why := j.stays(head); why != "" {
			out.Stay = append(out.Stay, wire.StayingRun{Run: head.ID, Reason: why, Unpacked: why == unpacked})
			continue
		}
		leaves := len(n.tree.runs[head.ID])
		out.Runs = append(out.Runs, wire.RetiringRun{Run: head.ID, Entries: leaves})
		out.Entries += int64(leaves)
	}
	for i := range n.tree.size {
		if of := n.tree.about[i]; n.tree.refs[i].Hash == "" && of.run == "" && of.at < out.Before {
			out.Entries++
		}
	}
	return out, nil
}

// Retire begins to take out what was exported and is older than the policy wants it to be kept. It goes on by itself, at the node that lets the log grow.
// Errors: refused where the policy, or the export, does not allow it; conflict where another one goes on, or something else would go than was asked for.
func (n *Notary) Retire(ctx context.Context, who string, ask wire.Retire) (wire.Retirement, error) {
	if ask.Before <= 0 {
		return wire.Retirement{}, errs.New(errs.Invalid, "it is not said what is to be retired: give before, an instant")
	}
	would, err := n.Retiring(ctx, time.UnixMilli(ask.Before))
	switch {
	case err != nil:
		return wire.Retirement{}, err
	case would.RetentionDays == nil:
		return wire.Retirement{}, errs.Refuse("E7", "evidence is kept for ever: say for how long with perdure policy set evidence kept-for DAYS")
	}
	if err := n.was(ask); err != nil {
		return wire.Retirement{}, err
	}
	if would.Last != nil && ask.Exported < would.Last.Exported {
		return wire.Retirement{}, errs.Refuse("E7", "the export ends at entry %d, and the one of the last retirement at %d", ask.Exported, would.Last.Exported)
	}
	var runs []string
	for _, r := range would.Runs {
		runs = append(runs, r.Run)
	}
	if asked := slices.Sorted(slices.Values(ask.Runs)); !slices.Equal(runs, asked) {
		return wire.Retirement{}, errs.New(errs.Conflict, "%d runs would be retired now, and %d were asked for: ask again what would be", len(runs), len(asked))
	}
	return n.store.BeginRetirement(ctx, who, wire.Retirement{Reason: ask.Reason, Before: ask.Before, Exported: ask.Exported, Size: would.Size, Origin: would.Origin})
}

// was holds what an export was verified against, against the log.
func (n *Notary) was(ask wire.Retire) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case ask.Origin != n.origin:
		return errs.Refuse("E7", "the export is of log %s, and this one is %s", ask.Origin, n.origin)
	case ask.Size < 1 || ask.Size > n.tree.size || ask.Exported < 0 || ask.Exported > ask.Size:
		return errs.Refuse("E7", "the export has entries up to %d of a log of %d, and this one has %d", ask.Exported, ask.Size, n.tree.size)
	}
	root, err := tlog.TreeHash(ask.Size, &n.tree)
	if err != nil {
		return errs.New(errs.Internal, "the evidence log has no root: %w", err)
	}
	if root.String() != ask.Root {
		return errs.Refuse("E7", "the first %d entries of this log are not those of the export: their root is another one", ask.Size)
	}
	return nil
}

// judgement is what has to be known to say whether a run goes.
type judgement struct {
	r       wire.Retirement
	heads   []wire.Run
	tree    *tree
	refers  map[string]string // who needs the run
	waiting map[string]bool   // orders of it are held
}

// judgement reads it. The tree is the notary's, and its lock is held.
func (n *Notary) judgement(ctx context.Context, r wire.Retirement) (*judgement, error) {
	j := &judgement{r: r, tree: &n.tree, refers: map[string]string{}, waiting: map[string]bool{}}
	incidents, err := n.store.Incidents(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	for _, i := range incidents {
		runs := slices.Clone(i.Runs)
		for _, p := range i.Parts {
			runs = append(runs, p.Runs...)
		}
		for _, id := range runs {
			j.refers[id] = "incident " + i.ID + " is reported by it"
		}
	}
	sheets, err := n.store.Sheets(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	for _, s := range sheets {
		j.refers[s.Run] = "its rectification refers to it"
		for _, item := range s.Items {
			for _, t := range item.Retests {
				j.refers[t.Run] = "the rectification of run " + s.Run + " refers to it"
			}
		}
	}
	orders, err := n.store.OrderHeads(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	for _, o := range orders {
		j.waiting[o.Run] = slices.ContainsFunc(o.Units, func(t heldorder.Totals) bool { return t.Open > 0 })
	}
	j.heads, err = n.store.Runs(ctx, wire.Fresh)
	return j, err
}

// unpacked is why a run stays that could go otherwise.
const unpacked = "there is no pack of all of it"

// ended: the run was over before the instant, and was not retired yet.
func ended(head wire.Run, before int64) bool {
	return head.Phase == run.Over && head.FinishedAt < before && head.RetiredAt == 0
}

// stays gives why a run that has ended stays; empty: it goes.
func (j *judgement) stays(head wire.Run) string {
	leaves := j.tree.runs[head.ID]
	of, ok := j.tree.packed[head.ID]
	switch {
	case j.refers[head.ID] != "":
		return j.refers[head.ID]
	case j.waiting[head.ID]:
		return "orders of it are held"
	case head.ReviewDue:
		return "somebody broke glass in it, and nobody has reviewed that"
	case !ok || len(leaves) == 0 || of.leaves != len(leaves) || of.leaf >= j.r.Size || of.leaf < leaves[len(leaves)-1]:
		return unpacked
	case leaves[len(leaves)-1] >= j.r.Exported:
		return "its journal was not exported yet"
	}
	return ""
}

// retire goes on with a retirement, for a while. It is called by the node that lets the log grow; what another one did meanwhile is found as a conflict.
func (n *Notary) retire(ctx context.Context) error {
	r, err := n.store.Retirement(ctx)
	if err != nil || r.At == 0 || r.FinishedAt != 0 {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.read(ctx); err != nil {
		return err
	}
	if r.Origin != n.origin {
		r.FinishedAt, r.Stopped = n.o.Now().UnixMilli(), fmt.Sprintf("the store was recovered since: its log is %s", n.origin)
		_, err := n.store.KeepRetirement(ctx, r)
		return err
	}
	until := time.Now().Add(retireFor)
	if !r.Marked {
		if r, err = n.retireRuns(ctx, r, until); err != nil || !r.Marked {
			return err
		}
	}
	return n.retireLeaves(ctx, r, until)
}

// retireRuns marks the runs that go.
func (n *Notary) retireRuns(ctx context.Context, r wire.Retirement, until time.Time) (wire.Retirement, error) {
	j, err := n.judgement(ctx, r)
	if err != nil {
		return r, err
	}
	all := true
	for _, head := range j.heads {
		if !ended(head, r.Before) || j.stays(head) != "" {
			continue
		}
		if time.Now().After(until) {
			all = false
			break
		}
		if r, err = n.store.RetireRun(ctx, r, head); err != nil {
			return r, err
		}
	}
	r.Marked = all
	return n.store.KeepRetirement(ctx, r)
}

// retireLeaves takes the leaves out that go: those of runs that were retired, and the events that are of no run.
func (n *Notary) retireLeaves(ctx context.Context, r wire.Retirement, until time.Time) error {
	heads, err := n.store.Runs(ctx, wire.Fresh)
	if err != nil {
		return err
	}
	there, retired := map[string]bool{}, map[string]bool{}
	for _, h := range heads {
		there[h.ID], retired[h.ID] = true, h.RetiredAt != 0
	}
	goes := func(index int64) string {
		of := n.tree.about[index]
		old := of.at != 0 && of.at < r.Before && !there[of.run]
		if index >= r.Exported || n.tree.refs[index].Hash != "" || !retired[of.run] && !old {
			return ""
		}
		return n.tree.hash(index).String()
	}
	for r.Next < r.Exported && time.Now().Before(until) {
		from := r.Next
		if r, err = n.store.RetireLeaves(ctx, r, goes); err != nil {
			return err
		}
		for i := from; i < r.Next; i++ {
			if goes(i) != "" {
				n.tree.retire(i)
			}
		}
	}
	if r.Next < r.Exported {
		return nil
	}
	r.FinishedAt = n.o.Now().UnixMilli()
	if _, err = n.store.KeepRetirement(ctx, r); err == nil {
		n.log.Info("evidence that was exported was retired", "entries", r.Entries, "runs", r.Runs)
	}
	return err
}
