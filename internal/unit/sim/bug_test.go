package sim

import (
	"fmt"
	"slices"
	"testing"
)

// seeded says in which worlds a seeded bug has to be caught: within so many seeds from the first, by one of the invariants.
type seeded struct {
	bug     Bug
	what    string
	profile Profile
	from    uint64
	within  int
	names   []string
}

// seededBugs are the bugs of the list in the rules that need no slot move, no relay and no second database program.
func seededBugs() []seeded {
	return []seeded{
		{NoBarrier, "a retried key is answered from a local row without the barrier", SlowCopy, 3, 3, []string{"I3"}},
		{CancelIsSuccess, "a cancelled COMMIT counts as success", SlowCopy, 1, 3, []string{"I3"}},
		{OutboxEarly, "the outbox sends before the barrier", SlowCopy, 1, 3, []string{"I3"}},
		{LoggedGuard, "the guard row is logged: a promoted copy is open in the old epoch", Owners, 1, 3, []string{"I1"}},
		{RestartStaysOpen, "a restarted or backend-crashed owner is still open", Owners, 1, 3, []string{"I1"}},
		{PromoteUnsevered, "promote without sever", Planned, 1, 2, []string{"I4"}},
		{ComparedBeforeCut, "positions are read before the cut", Links, 4, 4, []string{"I4"}},
		{ConfigBeforeStore, "shrink: configuration before store", SlowCopy, 1, 3, []string{"I2"}},
		{GrowUnproven, "grow: store before the proven wait", Copies, 4, 3, []string{"I2"}},
		{FirstOne, "FIRST 1 with two in the store", Copies, 1, 2, []string{"I2"}},
		{LateReload, "the reload of a paused agent comes after the regrowth", SlowCopy, 1, 3, []string{"I2"}},
		{RecoverKeepsSets, "a forced new cluster keeps the in-sync sets", Recovery, 1, 3, []string{"I10"}},
		{IncarnationIgnored, "incarnations are not compared", Recovery, 5, 3, []string{"I10"}},
		{ColdQuorumActs, "a cold quorum acts alone", Recovery, 13, 3, []string{"I10"}},
		{LeaseFromReceipt, "the owner counts its lease from the receipt", Late, 1, 2, []string{"I8"}},
		{LeaseFromStore, "the right to write is a lease of the store", Leader, 5, 3, []string{"I8"}},
		{GuardLate, "the guard comes after the first business write", Aborted, 1, 3, []string{"I9"}},
		{FenceAtStatement, "the fence is at the start of statements only", Aborted, 1, 2, []string{"I9"}},
		{ReopenSameEpoch, "reopened in the same epoch after an aborted switch", Aborted, 1, 2, []string{"I1"}},
		{RewoundStartsWritable, "a rewound directory is started with the new owner's files", Planned, 1, 2, []string{"I6"}},
		{ReappliedUnkeyed, "a divergence is applied again without its keys", Owners, 11, 3, []string{"I5"}},
		{LateResponse, "a late answer of an old epoch is delivered", Late, 18, 3, []string{"I14"}},
		{CopyAhead, "an asynchronous copy ahead of the in-sync set serves", Owners, 18, 4, []string{"I12"}},
		{ProbeCommits, "the probe commits: a slow copy costs the owner its place", Links, 3, 1, []string{"I16"}},
		{HoldForever, "a hold has no end", Store, 16, 4, []string{"I14"}},
		{PausedOpens, "a paused runner wakes and opens the old owner", Aborted, 1, 3, []string{"I1", "I15"}},
		{RetentionForgotten, "a key is executed again after its retention", Calm, 1, 2, []string{"I5"}},
	}
}

// TestSeededBugIsCaught: each seeded bug breaks the invariant that it is about, within its budget of seeds, and the same
// seeds are green without it.
func TestSeededBugIsCaught(t *testing.T) {
	for _, b := range seededBugs() {
		t.Run(fmt.Sprintf("M%d", b.bug), func(t *testing.T) {
			t.Parallel()
			for i := range b.within {
				seed := b.from + uint64(i)
				r := Run(Config{Seed: seed, Profile: b.profile, Bug: b.bug})
				if well := Run(Config{Seed: seed, Profile: b.profile}); well.Violation != nil {
					t.Errorf("seed %d of %s is not green without the bug: %v", seed, b.profile, well.Violation)
				}
				if r.Violation == nil {
					continue
				}
				if !slices.Contains(b.names, r.Violation.Invariant) {
					t.Errorf("%s: caught as %s, want %v: %v", b.what, r.Violation.Invariant, b.names, r.Violation)
				}
				return
			}
			t.Errorf("%s: not caught by seeds %d to %d of %s", b.what, b.from, b.from+uint64(b.within)-1, b.profile)
		})
	}
}

// TestSeededBugsAreDistinct: the list names every bug once.
func TestSeededBugsAreDistinct(t *testing.T) {
	seen := map[Bug]bool{}
	for _, b := range seededBugs() {
		if seen[b.bug] {
			t.Errorf("bug %d is listed twice", b.bug)
		}
		seen[b.bug] = true
	}
	if len(seen) != 27 {
		t.Errorf("%d bugs are listed, want 27", len(seen))
	}
}
