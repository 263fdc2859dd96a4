package sim

import (
	"slices"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Bug is a seeded bug: a fault put into a model, or around a decision, that the checker must catch. The numbers are those
// of the list of seeded bugs in the rules. They exist in this package only.
type Bug int

// The seeded bugs that need no slot move and no relay.
const (
	NoBug                 Bug = 0
	NoBarrier             Bug = 1  // a repeated key is answered from a local row
	CancelIsSuccess       Bug = 2  // a cancelled COMMIT counts as success
	OutboxEarly           Bug = 3  // the outbox sends before the barrier
	LoggedGuard           Bug = 4  // the guard row is logged: a promoted copy is open in the old epoch
	RestartStaysOpen      Bug = 5  // a restarted owner is still open
	PromoteUnsevered      Bug = 6  // promote without sever
	ComparedBeforeCut     Bug = 7  // the position is read before the cut
	ConfigBeforeStore     Bug = 9  // shrink: the configuration goes before the store
	GrowUnproven          Bug = 10 // grow: the store goes before the wait is proven
	FirstOne              Bug = 11 // FIRST 1 with two in the store
	LateReload            Bug = 13 // a paused agent's reload comes after the regrowth
	RecoverKeepsSets      Bug = 14 // force-new-cluster keeps the in-sync sets
	IncarnationIgnored    Bug = 15 // only epochs are compared
	ColdQuorumActs        Bug = 16 // a quorum that came up cold acts alone
	LeaseFromReceipt      Bug = 17 // the owner counts its lease from the answer
	LeaseFromStore        Bug = 18 // the right to write comes from the store
	GuardLate             Bug = 21 // the guard comes after the first business write
	FenceAtStatement      Bug = 24 // the fence does not wait for transactions in flight
	ReopenSameEpoch       Bug = 25 // reopened in the same epoch after an aborted switch
	RewoundStartsWritable Bug = 26 // a rewound directory is started with the new owner's files
	ReappliedUnkeyed      Bug = 27 // a divergence is applied again without its keys
	LateResponse          Bug = 28 // an answer of an older epoch is delivered
	CopyAhead             Bug = 29 // an asynchronous copy follows the owner and serves what the in-sync set has not
	ProbeCommits          Bug = 30 // the probe waits for copies
	HoldForever           Bug = 31 // a hold has no end
	PausedOpens           Bug = 32 // a paused runner wakes and opens the old owner
	RetentionForgotten    Bug = 33 // a key is executed again after its retention
)

// apply is unit.Apply, with the seeded bugs of the store's side around it.
func (w *world) apply(rec unit.Record, t unit.Transition) (unit.Record, error) {
	next, err := unit.Apply(rec, t)
	if w.bug(RecoverKeepsSets) && err == nil && t.Kind == unit.Recover {
		next.State, next.InSync, next.Lost = rec.State, slices.Clone(rec.InSync), nil
		next.Heirs, next.Before = rec.Heirs, rec.Before
	}
	return next, err
}

// next is unit.Next, with the seeded bugs of the agent's side around it.
func (w *world) next(rec unit.Record, self unit.Self, v unit.View, timing unit.Timing, now int64) unit.Action {
	if w.bug(CopyAhead) {
		if m, ok := rec.Member(self.Member); ok && m.Role == unit.AsyncRole {
			rec = rec.Clone()
			for i := range rec.Members {
				if rec.Members[i].ID == self.Member {
					rec.Members[i].Role = unit.SyncRole
				}
			}
		}
	}
	if w.bug(IncarnationIgnored) {
		self.Seen = estate.Ownership{}
	}
	a := unit.Next(rec, self, v, timing, now)
	if w.bug(ReopenSameEpoch) && a.Do == unit.Post && a.Transition.Kind == unit.Reopen && self.Now() == rec.Owner && rec.State == unit.Open {
		return unit.Action{Do: unit.OpenGates, Ownership: rec.Ownership, Why: "seeded: reopened in the same epoch"}
	}
	return a
}
