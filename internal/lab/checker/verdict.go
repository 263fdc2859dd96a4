package checker

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// Name names what is wrong. A seeded defect is caught when the finding of its name is there.
type Name string

// The closed list of findings. Behind each stands the rule that was broken, where it is one of the ownership rules.
const (
	// IncompleteHistory: a history without its end, without load, or with a step that never ended proves nothing.
	IncompleteHistory Name = "incomplete-history"
	// UnreadOwner: calls were made to a unit whose final owner was not read.
	UnreadOwner Name = "unread-owner"

	LostWrite        Name = "lost-write"        // acknowledged, and not at the final owner (I3, I4)
	DoubledEffect    Name = "doubled-effect"    // one key, more than one journal entry (I5)
	DoubledKey       Name = "doubled-key"       // one key recorded at two units, or twice in one (I5)
	DoubledCredit    Name = "doubled-credit"    // one cross-transfer credited more than once (I3, I5)
	MissingEffect    Name = "missing-effect"    // a recorded success without its journal entry (I5)
	WrongEffect      Name = "wrong-effect"      // a journal entry that is not what was asked for
	RefusedEffect    Name = "refused-effect"    // answered as refused, and yet it had its effect
	UnrecordedEffect Name = "unrecorded-effect" // a journal entry without an idempotency record (I5)
	UnaskedWrite     Name = "unasked-write"     // a record of a client's key that no client ever sent
	ChangedResult    Name = "changed-result"    // an answer differs from the recorded result, or from another answer (I3, I5)

	UnbalancedEntry Name = "unbalanced-entry" // the lines of a journal entry do not sum to zero
	WrongBalance    Name = "wrong-balance"    // a balance is not the opening plus the journal
	ChangedOpening  Name = "changed-opening"  // an opening balance is not what it was before the load
	MoneyCreated    Name = "money-created"    // balances and money in flight exceed what came in
	MoneyLost       Name = "money-lost"       // balances and money in flight are less than what came in

	OldEpochWrite      Name = "old-epoch-write"     // acknowledged in an ownership older than one already opened when it was sent (I1)
	OldEpochRead       Name = "old-epoch-read"      // the same for a read that is not marked stale (I8)
	OwnershipBackwards Name = "ownership-backwards" // a record of an older ownership stands behind one of a newer (I1)
	OutlivedOwnership  Name = "outlived-ownership"  // acknowledged in an ownership whose server had died since it was opened (I1)
	UnseveredPromotion Name = "unsevered-promotion" // a new owner's history goes on beyond the position at which it was severed (I4)
	TwoOwners          Name = "two-owners"          // two incarnations of the same number answered (I10)
	Unstamped          Name = "unstamped-answer"    // a success without the ownership it was committed in (I14)
	WrongStamp         Name = "wrong-stamp"         // the stamp of a committed answer is not the record's ownership
	LateAnswer         Name = "late-answer"         // a gateway gave an answer of an older ownership after one of a newer (I14)
	EndlessHold        Name = "endless-hold"        // a gateway left a request without an answer for longer than any hold lasts (I14)
	ImpossibleRead     Name = "impossible-read"     // a balance that the account never had at any moment of the read (I3, I12)

	WrongDivergence   Name = "wrong-divergence"   // the product's list is not the difference (I6)
	MissingDivergence Name = "missing-divergence" // exactness was claimed and there is no list (I6)
	UntriedDivergence Name = "untried-divergence" // a step was to leave diverged transactions, or to bring lost ones back, and too few were there for it to show anything (I6)
	WrongEstimate     Name = "wrong-estimate"     // exactness was claimed and the estimate is not the loss (I10)
	UnacceptedLoss    Name = "unaccepted-loss"    // a loss was declared and the product shows no two people who accepted it (I11)
	UnverifiedWrite   Name = "unverified-write"   // committed after a takeover with a loss, before anybody had the accounts judged or released (I7)

	ClientError   Name = "client-error"    // an error as its clients see it
	ClosedTooLong Name = "closed-too-long" // no acknowledged write for longer than the bound, though a copy lived
	FalseSwitch   Name = "false-switch"    // an automatic switch without a fault, or a second one for the same (I16)
	WrongSwitches Name = "wrong-switches"  // ownership changed hands more or less often than declared
)

// Finding is one thing that is wrong, or that was wrong and is accepted.
type Finding struct {
	Name    Name          `json:"name"`
	Step    string        `json:"step,omitempty"` // "" outside all steps
	Unit    estate.UnitID `json:"unit,omitempty"`
	Key     string        `json:"key,omitempty"`
	Message string        `json:"message"`
	// Accepted: people accepted this loss, it does not fail the run.
	Accepted bool `json:"accepted,omitempty"`
}

// String writes the finding on one line.
func (f Finding) String() string {
	s := string(f.Name)
	if f.Step != "" {
		s += " in " + f.Step
	}
	if f.Unit != "" {
		s += " of " + string(f.Unit)
	}
	if f.Key != "" {
		s += " (key " + f.Key + ")"
	}
	if f.Accepted {
		s += ", accepted"
	}
	return s + ": " + f.Message
}

// Step is what is known of one step of the story.
type Step struct {
	Name  string            `json:"name"`
	Title map[string]string `json:"title,omitempty"`
	Mode  history.Mode      `json:"mode"`
	// Start and End count from the beginning of the history.
	Start time.Duration `json:"start_ns"`
	End   time.Duration `json:"end_ns"`
	// Gap is the longest time between two acknowledged writes of one unit, of the units with at least 100 writes/s; where none has,
	// of all units, and GapMeaningful is false.
	Gap           time.Duration `json:"gap_ns"`
	GapMeaningful bool          `json:"gap_meaningful"`
	// Pause is the longest time from the last acknowledgement of an old ownership to the first of the new one; 0 without a change.
	Pause time.Duration `json:"pause_ns"`
	// Phases is how long each phase of the planned switch of the step took, by PhaseNames; empty where there was none.
	Phases map[string]time.Duration `json:"phases_ns,omitempty"`
	Units  []UnitStep               `json:"units"`
	// Errors, Reconnects leave out the clients inside a cut-off site; InsideErrors counts those, ReadErrors are errors of reads.
	Errors       int `json:"errors"`
	InsideErrors int `json:"inside_errors"`
	ReadErrors   int `json:"read_errors"`
	Reconnects   int `json:"reconnects"`
	// Held and Replayed count requests that a gateway held, and replayed.
	Held     int `json:"held"`
	Replayed int `json:"replayed"`
	// LongestHeld is the longest hold that a gateway reported.
	LongestHeld  time.Duration `json:"longest_held_ns"`
	Acknowledged int           `json:"acknowledged"`
	Refused      int           `json:"refused"`
	// Locked are, of Refused, those answered 423: the account was in quarantine.
	Locked int `json:"locked"`
	// Lost are acknowledged writes that are not at the final owner; Redone, of these, are there again because their key was executed anew.
	// Resent were taken away by an accepted loss and are there again, once, because people sent them again with their keys: they are not lost.
	Lost    int `json:"lost"`
	Redone  int `json:"redone"`
	Resent  int `json:"resent,omitempty"`
	Doubled int `json:"doubled"`
	// RPOExact: the product's lists and estimates of the step equal the checker's own difference; RPOBasis says what that was taken from.
	RPOExact bool   `json:"rpo_exact"`
	RPOBasis string `json:"rpo_basis"`
	// Diverged counts the transactions that the product listed for switches of this step.
	Diverged     int  `json:"diverged"`
	ExpectedLoss bool `json:"expected_loss"`
}

// UnitStep is one unit in one step.
type UnitStep struct {
	Unit estate.UnitID `json:"unit"`
	// Rate is acknowledged writes per second outside the longest gap.
	Rate         float64       `json:"rate"`
	Gap          time.Duration `json:"gap_ns"`
	Pause        time.Duration `json:"pause_ns"`
	Acknowledged int           `json:"acknowledged"`
	// Switches is how often ownership passed to another member.
	Switches int `json:"switches"`
}

// Money is the sum of everything.
type Money struct {
	Opening  history.Amount `json:"opening"`
	Balances history.Amount `json:"balances"`
	InFlight history.Amount `json:"in_flight"`
	// FromOutside is what came in less what went out.
	FromOutside history.Amount `json:"from_outside"`
	// Accepted is the part of the difference that an accepted loss explains: one side of a cross-transfer was lost with its site.
	Accepted history.Amount `json:"accepted"`
	Accounts int            `json:"accounts"`
	Entries  int            `json:"entries"`
}

// Timeline is acknowledged writes per interval, for a picture.
type Timeline struct {
	Interval time.Duration           `json:"interval_ns"`
	Units    map[estate.UnitID][]int `json:"units"`
	Faults   []FaultMark             `json:"faults"`
}

// FaultMark is a fault on the timeline.
type FaultMark struct {
	What    string        `json:"what"`
	Targets []string      `json:"targets,omitempty"`
	Start   time.Duration `json:"start_ns"`
	End     time.Duration `json:"end_ns"` // 0 where it was never mended
	Skipped string        `json:"skipped,omitempty"`
}

// Verdict is the checker's conclusion.
type Verdict struct {
	Estate         string `json:"estate"`
	Seed           uint64 `json:"seed"`
	Pass           bool   `json:"pass"`
	Steps          []Step `json:"steps"`
	MoneyConserved bool   `json:"money_conserved"`
	OldEpochWrites int    `json:"old_epoch_writes"`
	Money          Money  `json:"money"`
	// Outside is what happened between the steps.
	Outside Step `json:"outside"`
	// Counts are all findings by name, accepted ones too; Findings are at most 20 of each name, accepted ones apart.
	Counts   map[Name]int `json:"counts"`
	Findings []Finding    `json:"findings"`
	// Calls, Reads and ReadsChecked say how much was looked at; Unresolved keys had no proper answer to the end.
	Calls        int      `json:"calls"`
	Reads        int      `json:"reads"`
	ReadsChecked int      `json:"reads_checked"`
	Unresolved   int      `json:"unresolved"`
	Records      int      `json:"records"`
	Skipped      uint64   `json:"skipped"`
	Timeline     Timeline `json:"timeline"`
}

// perName bounds the findings that are kept of one name; the rest is counted.
const perName = 20

// find adds a finding.
func (v *Verdict) find(f Finding) {
	v.Counts[f.Name]++
	if !f.Accepted {
		v.Pass = false
	}
	shown := 0
	for i := range v.Findings {
		if v.Findings[i].Name == f.Name && v.Findings[i].Accepted == f.Accepted {
			shown++
		}
	}
	if shown < perName {
		v.Findings = append(v.Findings, f)
	}
}

// has reports whether a finding of the name is there.
func (v *Verdict) has(names ...Name) bool {
	return slices.ContainsFunc(names, func(n Name) bool { return v.Counts[n] > 0 })
}

// Merge joins the verdicts of the estates of one run: it passes when all pass. Steps keep their order; names that appear twice are told apart by their estate.
func Merge(vs ...Verdict) Verdict {
	if len(vs) == 1 {
		return vs[0]
	}
	all := Verdict{Pass: len(vs) > 0, MoneyConserved: len(vs) > 0, Counts: map[Name]int{}, Outside: Step{Name: "outside"}}
	seen := map[string]bool{}
	for i, v := range vs {
		all.Pass = all.Pass && v.Pass
		all.MoneyConserved = all.MoneyConserved && v.MoneyConserved
		all.OldEpochWrites += v.OldEpochWrites
		all.Estate = cmp.Or(all.Estate, v.Estate)
		if i > 0 {
			all.Estate += ", " + v.Estate
		}
		for _, s := range v.Steps {
			if seen[s.Name] {
				s.Name = fmt.Sprintf("%s (%s)", s.Name, v.Estate)
			}
			seen[s.Name] = true
			all.Steps = append(all.Steps, s)
		}
		for n, c := range v.Counts {
			all.Counts[n] += c
		}
		all.Findings = append(all.Findings, v.Findings...)
		all.Calls, all.Reads, all.ReadsChecked = all.Calls+v.Calls, all.Reads+v.Reads, all.ReadsChecked+v.ReadsChecked
		all.Unresolved, all.Records, all.Skipped = all.Unresolved+v.Unresolved, all.Records+v.Records, all.Skipped+v.Skipped
		m := &all.Money
		m.Opening, m.Balances, m.InFlight = m.Opening+v.Money.Opening, m.Balances+v.Money.Balances, m.InFlight+v.Money.InFlight
		m.FromOutside, m.Accepted = m.FromOutside+v.Money.FromOutside, m.Accepted+v.Money.Accepted
		m.Accounts, m.Entries = m.Accounts+v.Money.Accounts, m.Entries+v.Money.Entries
	}
	return all
}
