package unit

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// pastLimit bounds Record.Past.
const pastLimit = 32

// DefaultBudget is how long the phases of a planned switch before the decision may take.
const DefaultBudget = 5 * time.Second

// Bootstrap makes the first record of a group: closed, owned by nobody yet, meant for the first owner.
func Bootstrap(group estate.GroupID, system estate.SystemID, units []estate.UnitID, policy Policy, members []Member, owner estate.MemberID, incarnation estate.Incarnation) Record {
	return Record{
		Group: group, System: system, Units: slices.Clone(units), Policy: policy, Members: slices.Clone(members),
		Ownership: estate.Ownership{Incarnation: incarnation}, Owner: estate.Life{Member: owner}, State: Closed,
	}
}

// Apply gives the record after the transition, or the refusal that names the invariant. It never changes rec.
func Apply(rec Record, t Transition) (Record, error) {
	next := rec.Clone()
	r := &next
	var err error
	switch t.Kind {
	case Enrol:
		err = r.enrol(t)
	case Reopen:
		err = r.reopen(t)
	case OwnerDown:
		err = r.ownerDown(t)
	case Attach:
		err = r.attach(t)
	case Shrink:
		err = r.shrink(t)
	case Grow:
		err = r.grow(t)
	case Begin:
		err = r.begin(t)
	case Close:
		err = r.close(t)
	case Decide:
		err = r.decide(t)
	case Opened:
		err = r.opened(t)
	case Abort:
		err = r.abort(t)
	case Propose:
		err = r.propose(t)
	case Accept:
		err = r.accept(t)
	case Recover:
		err = r.recover(t)
	case Amend:
		err = r.amend(t)
	case Release:
		err = r.release(t)
	case Settle:
		err = r.settle(t)
	default:
		err = errs.New(errs.Invalid, "transition %q is not known", t.Kind)
	}
	if err != nil {
		return rec, err
	}
	return next, nil
}

// current refuses a transition that believes in another ownership than the record's (I1, I15).
func (r *Record) current(t Transition) error {
	if t.Ownership != r.Ownership {
		return errs.Refuse("I1", "cannot %s %s: it was asked under ownership %s, in force is %s: read the record again", t.Kind, r.Group, t.Ownership, r.Ownership)
	}
	return nil
}

// byOwner refuses a transition that does not come from the life that owns the open record.
func (r *Record) byOwner(t Transition) error {
	if err := r.current(t); err != nil {
		return err
	}
	if r.State != Open {
		return errs.Refuse("I1", "cannot %s %s: it is %s, not open", t.Kind, r.Group, r.State)
	}
	if t.By != r.Owner {
		return errs.Refuse("I1", "cannot %s %s: %s asked, but %s owns it", t.Kind, r.Group, t.By, r.Owner)
	}
	return nil
}

func (r *Record) member(id estate.MemberID) (*Member, error) {
	for i := range r.Members {
		if r.Members[i].ID == id {
			return &r.Members[i], nil
		}
	}
	return nil, errs.New(errs.NotFound, "%s has no member %q", r.Group, id)
}

func (r *Record) enrol(t Transition) error {
	m, err := r.member(t.By.Member)
	if err != nil {
		return err
	}
	if t.By.N < m.Life {
		return errs.Refuse("I15", "cannot enrol %s: life %d of it is already known", t.By, m.Life)
	}
	if r.Ownership.Less(t.Following) {
		return errs.Refuse("I1", "cannot enrol %s: it follows ownership %s, newer than the record's %s", t.By, t.Following, r.Ownership)
	}
	m.Life, m.First, m.Following, m.Ahead = t.By.N, t.First, t.Following, t.Ahead
	return nil
}

// take ends the present ownership and gives the next one to the life.
func (r *Record) take(to estate.Life, mode Mode, now int64) {
	p := Past{Ownership: r.Ownership, Owner: r.Owner, InSync: r.InSync, Mode: mode, Opened: r.Opened, Ended: now}
	if s := r.Switch; s.Active() && s.Ownership == r.Ownership {
		p.Fence, p.ExpectedLoss = s.Fence, s.Lossy
	}
	r.Past = append(r.Past, p)
	if n := len(r.Past); n > pastLimit {
		r.Past = slices.Clone(r.Past[n-pastLimit:])
	}
	r.Ownership = r.Ownership.Next()
	r.Owner, r.Down, r.DownAt, r.Opened = to, nil, 0, 0
}

// fail ends an undecided switch.
func (r *Record) fail(reason string, now int64) {
	if s := r.Switch; s.Active() {
		s.Phase, s.Reason = Failed, reason
		s.At[Failed] = now
	}
}

func (r *Record) reopen(t Transition) error {
	if err := r.current(t); err != nil {
		return err
	}
	if t.By.Member != r.Owner.Member {
		return errs.Refuse("I1", "cannot reopen %s: %s asked, but %s owns it", r.Group, t.By, r.Owner)
	}
	if r.State == Promoting {
		return errs.Refuse("I4", "cannot reopen %s: %s is being promoted", r.Group, r.Owner)
	}
	if r.Lost != nil {
		return errs.Refuse("I10", "cannot reopen %s: the store was recovered; propose and accept who goes on", r.Group)
	}
	if t.By.N < r.Owner.N {
		return errs.Refuse("I15", "cannot reopen %s: %s is an earlier life of %s", r.Group, t.By, r.Owner)
	}
	m, err := r.member(t.By.Member)
	if err != nil {
		return err
	}
	restarted := t.By.N != r.Owner.N
	if s := r.Switch; s.Active() && s.Phase != Growing {
		r.fail(cause(t.Reason, "the owner reopened before the decision"), t.Now) // a proposed loss too: it was estimated for what ends here
	}
	r.take(t.By, "", t.Now)
	if restarted { // it waits for nobody until its set is proven again (I2)
		r.InSync = nil
	}
	m.Life, m.First, m.Following, m.Ahead = t.By.N, t.First, r.Ownership, false
	r.State, r.Opened, r.Session = Open, t.Now, t.Session
	return nil
}

func cause(given, otherwise string) string {
	if given != "" {
		return given
	}
	return otherwise
}

func (r *Record) ownerDown(t Transition) error {
	if err := r.byOwner(t); err != nil {
		return err
	}
	down := t.By
	r.Down, r.DownAt = &down, t.Now
	return nil
}

func (r *Record) attach(t Transition) error {
	if err := r.byOwner(t); err != nil {
		return err
	}
	if t.Session <= r.Session {
		return errs.New(errs.Conflict, "cannot attach session %d of %s to %s: session %d is", t.Session, t.By, r.Group, r.Session)
	}
	r.Session = t.Session
	return nil
}

// bySession refuses a change of the set that comes from a session of the owner's agent that is no longer, or not yet, attached.
func (r *Record) bySession(t Transition) error {
	if err := r.byOwner(t); err != nil {
		return err
	}
	if t.Session != r.Session {
		return errs.Refuse("I15", "cannot %s %s: session %d of %s asked, attached is %d", t.Kind, r.Group, t.Session, t.By, r.Session)
	}
	return nil
}

func (r *Record) shrink(t Transition) error {
	if err := r.bySession(t); err != nil {
		return err
	}
	i := slices.Index(r.InSync, t.Member)
	if i < 0 {
		return errs.New(errs.Conflict, "cannot shrink %s: %s is not in the in-sync set", r.Group, t.Member)
	}
	if m, ok := r.Member(t.Member.Member); ok && m.Role == PinnedRole {
		return errs.Refuse("I2", "cannot shrink %s: %s is pinned by policy, commits wait for it", r.Group, t.Member)
	}
	if len(r.InSync)-1 < r.Policy.MinInSync {
		return errs.Refuse("I2", "cannot shrink %s: policy wants at least %d in-sync copies", r.Group, r.Policy.MinInSync)
	}
	r.InSync = slices.Delete(slices.Clone(r.InSync), i, i+1)
	if s := r.Switch; s.Undecided() && s.To == t.Member {
		r.fail("the target "+t.Member.String()+" left the in-sync set", t.Now)
	}
	return nil
}

func (r *Record) grow(t Transition) error {
	if err := r.bySession(t); err != nil {
		return err
	}
	m, err := r.member(t.Member.Member)
	if err != nil {
		return err
	}
	switch {
	case m.Role == AsyncRole:
		return errs.Refuse("I2", "cannot grow %s by %s: policy makes it an asynchronous copy", r.Group, t.Member)
	case m.ID == r.Owner.Member:
		return errs.Refuse("I2", "cannot grow %s by its own owner %s", r.Group, t.Member)
	case m.Life != t.Member.N:
		return errs.Refuse("I2", "cannot grow %s by %s: its newest life is %d", r.Group, t.Member, m.Life)
	case t.LSN == 0:
		return errs.Refuse("I2", "cannot grow %s by %s: no position was marked after the proof", r.Group, t.Member)
	case r.InSyncLife(t.Member):
		return nil
	}
	// A former life of the same member leaves with the same stroke: the proof was made with the names of the new set.
	r.InSync = append(slices.DeleteFunc(slices.Clone(r.InSync), func(l estate.Life) bool { return l.Member == t.Member.Member }), t.Member)
	m.Following, m.Ahead = r.Ownership, false
	if s := r.Switch; s != nil && s.Phase == Growing && r.setComplete() {
		s.Phase = Done
		s.At[Done] = t.Now
	}
	return nil
}

// setComplete reports whether every pinned member and, where there are synchronous candidates, at least one of them is in the set.
func (r *Record) setComplete() bool {
	candidates, in := 0, 0
	for _, m := range r.Members {
		if m.ID == r.Owner.Member || m.Role == AsyncRole {
			continue
		}
		has := r.InSyncLife(estate.Life{Member: m.ID, N: m.Life})
		if m.Role == PinnedRole {
			if !has {
				return false
			}
			continue
		}
		candidates++
		if has {
			in++
		}
	}
	return candidates == 0 || in > 0
}

// MayOpen reports whether the in-sync set satisfies the policy for opening the gates (I2).
func (r *Record) MayOpen() bool {
	if len(r.InSync) < r.Policy.MinInSync {
		return false
	}
	for _, m := range r.Members {
		if m.Role == PinnedRole && m.ID != r.Owner.Member && !slices.ContainsFunc(r.InSync, func(l estate.Life) bool { return l.Member == m.ID }) {
			return false
		}
	}
	return true
}

// Damped reports whether the last automatic switch was too short a time ago for another one (I16). It was decided by the clock of some
// node: one that is ahead by more than the damping time must not switch failovers off for as long as it is ahead.
func (r *Record) Damped(now int64) bool {
	since, least := now-r.LastAutomatic, r.Policy.Damping.Milliseconds()
	return r.LastAutomatic != 0 && since < least && since > -least
}

// LifeOf is the newest life that is known of a member, 0 where none is.
func (r *Record) LifeOf(id estate.MemberID) uint64 {
	m, _ := r.Member(id)
	return m.Life
}

// Unprotected reports whether an open group goes on without a copy that acknowledges.
func (r *Record) Unprotected() bool { return r.State == Open && len(r.InSync) == 0 }

func (r *Record) begin(t Transition) error {
	if r.Switch.Active() {
		return errs.New(errs.Conflict, "cannot switch %s: switch %s by %s is in phase %s; wait for it or abort it", r.Group, r.Switch.ID, r.Switch.By, r.Switch.Phase)
	}
	if r.State != Open {
		return errs.New(errs.Refused, "cannot switch %s: it is %s; a planned switch starts from an open unit", r.Group, r.State)
	}
	if t.Mode != Takeover && t.Mode != SwitchBack {
		return errs.New(errs.Invalid, "cannot switch %s: mode %q is not takeover or switch-back", r.Group, t.Mode)
	}
	m, err := r.member(t.Member.Member)
	if err != nil {
		return err
	}
	to := estate.Life{Member: m.ID, N: m.Life}
	switch {
	case m.ID == r.Owner.Member:
		return errs.New(errs.Refused, "cannot switch %s to %s: it is current there already", r.Group, m.ID)
	case !r.InSyncLife(to):
		return errs.Refuse("I4", "cannot switch %s to %s: it is not in the in-sync set (%s); wait until it is, or use --mode emergency and accept the loss shown", r.Group, m.ID, names(r.InSync))
	}
	budget := t.Budget
	if budget <= 0 {
		budget = DefaultBudget
	}
	r.Switch = &Switch{
		ID: t.SwitchID, Mode: t.Mode, From: r.Owner, To: to, By: t.Person, Phase: Closing, Ownership: r.Ownership,
		Budget: budget, Reason: t.Reason, At: map[Phase]int64{Closing: t.Now},
	}
	return nil
}

func names(lives []estate.Life) string {
	if len(lives) == 0 {
		return "empty"
	}
	var s strings.Builder
	for i, l := range lives {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(l.String())
	}
	return s.String()
}

func (r *Record) close(t Transition) error {
	if err := r.byOwner(t); err != nil {
		return err
	}
	if s := r.Switch; s == nil || s.Phase != Closing {
		return errs.New(errs.Conflict, "cannot close %s: no switch of it is closing", r.Group)
	}
	r.Switch.Phase, r.Switch.Fence = Drained, t.LSN
	r.Switch.mark(t, MarkShut)
	r.Switch.At[Drained] = t.Now
	return nil
}

// mark takes over when the agent's steps were done.
func (s *Switch) mark(t Transition, marks ...Phase) {
	for _, m := range marks {
		if at := t.Marks[m]; at != 0 {
			s.At[m] = at
		}
	}
}

func (r *Record) decide(t Transition) error {
	if err := r.current(t); err != nil {
		return err
	}
	m, err := r.member(t.Member.Member)
	if err != nil {
		return err
	}
	if m.Life != t.Member.N {
		return errs.Refuse("I2", "cannot give %s to %s: the newest life of it is %d", r.Group, t.Member, m.Life)
	}
	if m.Ahead {
		return errs.Refuse("I12", "cannot give %s to %s: it has more than the in-sync set and has to be rewound first", r.Group, t.Member)
	}
	s := r.Switch
	switch {
	case s.Active() && s.Phase == Accepting && s.To == t.Member && (s.accepted() || !r.holds(r.InSync, t.Member)):
		// A proposal nobody accepted yet does not keep its target, once that is in the set, from a failover that loses nothing.
		return r.decideLossy(t)
	case s.Undecided() && t.Mode == "" && !t.Silent:
		return r.decidePlanned(t)
	case r.State == Promoting:
		return r.decideAgain(t)
	}
	return r.decideFailover(t)
}

func (r *Record) decidePlanned(t Transition) error {
	s := r.Switch
	switch {
	case s.Phase != Drained:
		return errs.Refuse("I9", "cannot give %s to %s: the owner is not closed and drained yet", r.Group, t.Member)
	case s.To != t.Member || t.By != t.Member:
		return errs.Refuse("I4", "cannot give %s to %s: switch %s is to %s, which decides itself", r.Group, t.Member, s.ID, s.To)
	case !r.InSyncLife(t.Member):
		return errs.Refuse("I4", "cannot give %s to %s: it is not in the in-sync set", r.Group, t.Member)
	case t.LSN < s.Fence:
		return errs.Refuse("I4", "cannot give %s to %s: it has replayed %s, the fence is at %s", r.Group, t.Member, t.LSN, s.Fence)
	}
	r.give(t, s.Mode, true)
	s.Phase = Promotion
	s.At[Promotion] = t.Now
	return nil
}

// give passes the ownership on; the in-sync set of the open ownership becomes the heirs.
func (r *Record) give(t Transition, mode Mode, released bool) {
	if r.State != Promoting {
		r.Heirs, r.Before, r.Released = r.InSync, r.Owner, released
	}
	r.take(t.Member, mode, t.Now)
	r.State, r.InSync = Promoting, nil
}

// released reports whether the owner has no right to answer plain reads any more: closed and drained, or dead (I8).
func (r *Record) released() bool {
	s := r.Switch
	return s.Active() && s.Phase == Drained && s.Ownership == r.Ownership || r.Down != nil && *r.Down == r.Owner
}

func (r *Record) decideFailover(t Transition) error {
	person := t.Person != ""
	switch {
	case r.State != Open:
		return errs.Refuse("I10", "cannot give %s to %s: the group is %s; propose it as an emergency and let two people accept", r.Group, t.Member, r.State)
	case t.Member.Member == r.Owner.Member:
		return errs.Refuse("I1", "cannot give %s to %s: it owns it", r.Group, t.Member)
	case !r.holds(r.InSync, t.Member):
		return errs.Refuse("I4", "cannot give %s to %s: it is not in the in-sync set (%s); that loses acknowledged transactions, so two people have to accept it", r.Group, t.Member, names(r.InSync))
	case !person && r.Policy.Failover != Auto:
		return errs.Refuse("I16", "cannot give %s to %s: policy says a person confirms", r.Group, t.Member)
	case !person && !t.Silent && (r.Down == nil || *r.Down != r.Owner):
		return errs.Refuse("I16", "cannot give %s to %s: its owner is neither down nor silent", r.Group, t.Member)
	case !person && !t.Silent && t.By != t.Member:
		return errs.Refuse("I16", "cannot give %s to %s: it decides itself when the owner is down", r.Group, t.Member)
	case !person && r.Damped(t.Now):
		return errs.Refuse("I16", "cannot give %s to %s: the last automatic switch was %s ago, damping is %s; a person may", r.Group, t.Member, time.Duration(t.Now-r.LastAutomatic)*time.Millisecond, r.Policy.Damping)
	}
	mode, by := Failover, "auto"
	if person {
		mode, by = Emergency, t.Person
	} else {
		r.LastAutomatic = t.Now
	}
	from, left, released, disrupted := r.Owner, r.Ownership, r.released(), r.disrupted(t)
	r.fail("overtaken by a "+string(mode), t.Now)
	r.give(t, mode, released)
	r.Switch = &Switch{
		ID: t.SwitchID, Mode: mode, From: from, To: t.Member, By: by, Phase: Promotion, Ownership: left,
		Reason: t.Reason, At: map[Phase]int64{Promotion: t.Now}, Disrupted: disrupted,
	}
	return nil
}

// disrupted is since when service is gone, as far as the record and who decides know; 0 where they do not.
func (r *Record) disrupted(t Transition) int64 {
	switch s := r.Switch; {
	case s.Undecided(): // its gates were closed for a planned switch, and did not open again
		return cmp.Or(s.At[MarkShut], s.At[Closing])
	case r.Down != nil && *r.Down == r.Owner:
		return r.DownAt
	}
	return t.Since
}

// decideAgain passes an unopened decision on to another one that holds everything.
func (r *Record) decideAgain(t Transition) error {
	holds := r.holds(r.Heirs, t.Member) || t.Member.Member == r.Before.Member
	switch {
	case t.Member == r.Owner:
		return errs.New(errs.Conflict, "cannot give %s to %s: that is decided already", r.Group, t.Member)
	case !holds:
		return errs.Refuse("I4", "cannot give %s to %s: it was not in the in-sync set when the switch was decided", r.Group, t.Member)
	case !t.Silent && t.Person == "":
		return errs.Refuse("I16", "cannot give %s to %s: %s is being promoted", r.Group, t.Member, r.Owner)
	}
	if s := r.Switch; s.Phase == Accepting {
		r.fail("overtaken by a failover", t.Now)
		mode := Failover
		if t.Person != "" {
			mode = Emergency
		}
		r.Switch = &Switch{ID: t.SwitchID, Mode: mode, From: s.From, By: cause(t.Person, "auto"), Phase: Promotion, Ownership: s.Ownership, Reason: t.Reason, At: map[Phase]int64{}}
	}
	s := r.Switch
	r.give(t, s.Mode, r.Released)
	// What lies between the last acknowledgement and the fence is on the target of the switch only, and nobody was told of it.
	s.To, s.Fence = t.Member, 0
	s.At[Promotion] = t.Now
	return nil
}

func (r *Record) decideLossy(t Transition) error {
	s := r.Switch
	if !s.accepted() {
		return errs.Refuse("I11", "cannot give %s to %s: %d of 2 people accepted the loss", r.Group, t.Member, len(s.Approvals))
	}
	if t.By != t.Member {
		return errs.Refuse("I11", "cannot give %s to %s: it decides itself after the acceptance", r.Group, t.Member)
	}
	s.Disrupted = r.disrupted(t)
	r.give(t, Emergency, r.released())
	// Nobody holds everything: the decision cannot pass on without people.
	r.Heirs, r.Before, r.Lost = nil, estate.Life{}, nil
	// The owner itself, confirmed in place, has lost nothing; anybody else may have.
	r.Quarantine = r.Quarantine || t.Member.Member != s.From.Member
	if r.Quarantine {
		r.QuarantineOf = r.Ownership
	}
	s.Phase = Promotion
	s.At[Promotion] = t.Now
	return nil
}

// accepted reports whether two different people accepted the loss (I11).
func (s *Switch) accepted() bool {
	return len(s.Approvals) >= 2
}

func (r *Record) opened(t Transition) error {
	if err := r.current(t); err != nil {
		return err
	}
	switch {
	case r.State != Promoting:
		return errs.New(errs.Conflict, "cannot open %s: it is %s", r.Group, r.State)
	case t.By.Member != r.Owner.Member || t.By.N < r.Owner.N:
		return errs.Refuse("I1", "cannot open %s: %s asked, decided is %s", r.Group, t.By, r.Owner)
	case t.LSN < r.fence():
		return errs.Refuse("I4", "cannot open %s: %s is severed at %s, the fence is at %s", r.Group, t.By, t.LSN, r.fence())
	}
	m, err := r.member(t.By.Member)
	if err != nil {
		return err
	}
	r.Owner, r.State, r.Opened, r.Session = t.By, Open, t.Now, t.Session
	r.Heirs, r.Before, r.Released = nil, estate.Life{}, false
	m.Life, m.First, m.Following, m.Ahead = t.By.N, t.First, r.Ownership, false
	if s := r.Switch; s.Active() && s.Phase == Accepting {
		r.fail("the decided member opened before the loss was accepted", t.Now)
	}
	if n := len(r.Past); n > 0 {
		r.Past[n-1].Severed = t.LSN
		if s := r.Switch; s.Active() && s.At[Closing] != 0 {
			r.Past[n-1].Pause = t.Now - s.At[Closing]
		}
	}
	if s := r.Switch; s.Active() {
		s.To, s.Severed, s.Phase = t.By, t.LSN, Growing
		s.mark(t, MarkSevered, MarkPromoted)
		s.At[Growing] = t.Now
		if r.setComplete() {
			s.Phase = Done
			s.At[Done] = t.Now
		}
	}
	return nil
}

// fence is what the decided member must have: where a planned switch closed the ownership that it takes over from. Whoever the decision
// was passed on to need not have it: nobody was told of what lies between the last acknowledgement and the fence.
func (r *Record) fence() estate.LSN {
	if n := len(r.Past); n > 0 {
		return r.Past[n-1].Fence
	}
	return 0
}

func (r *Record) abort(t Transition) error {
	if t.By.Member != "" {
		if _, err := r.member(t.By.Member); err != nil {
			return err
		}
	}
	s := r.Switch
	if !s.Active() {
		return errs.New(errs.Conflict, "cannot abort: %s has no running switch", r.Group)
	}
	if t.SwitchID != "" && t.SwitchID != s.ID {
		return errs.New(errs.Conflict, "cannot abort switch %s of %s: switch %s is running", t.SwitchID, r.Group, s.ID)
	}
	if s.Phase == Promotion || s.Phase == Growing {
		return errs.Refuse("I15", "cannot abort switch %s of %s: it is decided and goes forward (phase %s)", s.ID, r.Group, s.Phase)
	}
	r.fail(cause(t.Reason, "aborted by "+cause(t.Person, t.By.String())), t.Now)
	return nil
}

func (r *Record) propose(t Transition) error {
	m, err := r.member(t.Member.Member)
	if err != nil {
		return err
	}
	to := estate.Life{Member: m.ID, N: m.Life}
	if s := r.Switch; s.Active() && s.Phase != Growing && s.Phase != Promotion {
		// A proposal too: what one person accepted is not replaced behind their back.
		return errs.New(errs.Conflict, "cannot propose %s for %s: switch %s to %s by %s is in phase %s; abort it first", m.ID, r.Group, s.ID, s.To.Member, s.By, s.Phase)
	}
	from := r.Owner
	if r.State == Promoting {
		// Nobody who holds everything may ever come back: then people give the decided one up. Until they have accepted, it may still open.
		switch {
		case m.ID == r.Owner.Member:
			return errs.New(errs.Conflict, "cannot propose %s for %s: it is being promoted", m.ID, r.Group)
		case r.Lossless(to):
			return errs.New(errs.Refused, "cannot propose %s for %s as a loss: it holds everything that was acknowledged, and is asked by itself", m.ID, r.Group)
		case r.Before.Member != "":
			from = r.Before
		}
	}
	if r.State == Open && m.ID == r.Owner.Member {
		return errs.New(errs.Refused, "cannot propose %s for %s: it is current there already", m.ID, r.Group)
	}
	if r.State == Open && r.holds(r.InSync, to) {
		return errs.New(errs.Refused, "cannot propose %s for %s as a loss: it is in the in-sync set and loses nothing", m.ID, r.Group)
	}
	if t.Loss == nil || t.Loss.Statement == "" || t.Loss.Source == "" {
		return errs.Refuse("I11", "cannot propose %s for %s: the estimated loss and its source have to be stated", m.ID, r.Group)
	}
	r.Switch = &Switch{
		ID: t.SwitchID, Mode: Emergency, From: from, To: to, By: t.Person, Phase: Accepting, Ownership: r.Ownership,
		Reason: t.Reason, At: map[Phase]int64{Accepting: t.Now}, Loss: t.Loss, Lossy: true,
	}
	return nil
}

func (r *Record) accept(t Transition) error {
	s := r.Switch
	if s == nil || s.Phase != Accepting {
		return errs.New(errs.Conflict, "cannot accept: %s has no proposed loss", r.Group)
	}
	if t.SwitchID != "" && t.SwitchID != s.ID {
		return errs.New(errs.Conflict, "cannot accept %s: proposed is %s; look at its loss first", t.SwitchID, s.ID)
	}
	if t.Person == "" {
		return errs.Refuse("I11", "cannot accept the loss of %s: a named person has to", r.Group)
	}
	for _, a := range s.Approvals {
		if a.By == t.Person {
			return errs.Refuse("I11", "%s has accepted the loss of %s already; a second person has to", t.Person, r.Group)
		}
	}
	s.Approvals = append(s.Approvals, Approval{By: t.Person, At: t.Now, Reason: t.Reason})
	return nil
}

func (r *Record) recover(t Transition) error {
	if t.Incarnation.Counter <= r.Ownership.Incarnation.Counter || t.Incarnation.ID == "" {
		return errs.Refuse("I10", "cannot recover %s: incarnation %d is not after %d", r.Group, t.Incarnation.Counter, r.Ownership.Incarnation.Counter)
	}
	if r.Lost == nil {
		in := r.InSync
		if r.State == Promoting {
			in = r.Heirs
		}
		r.Lost = &LostSet{Ownership: r.Ownership, Owner: r.Owner, InSync: in, Revision: t.Revision}
	}
	r.fail("the store was recovered as incarnation "+t.Incarnation.ID, t.Now)
	r.take(r.Owner, "", t.Now)
	r.Ownership.Incarnation = t.Incarnation
	r.doubt()
	return nil
}

// amend takes over what people declared. What an open group does not keep at the moment it cannot be told to have kept: without this a
// group with no copy would go on alone under a policy that says it never does (I2).
func (r *Record) amend(t Transition) error {
	kept := r.MayOpen()
	if err := r.declare(t); err != nil {
		return err
	}
	if r.State == Open && kept && !r.MayOpen() {
		return errs.Refuse("I2", "cannot change %s: it is open and its in-sync set is %s, which is less than the new policy wants; add a copy as sync, wait until it is in sync, then raise minInSync or pin it", r.Group, names(r.InSync))
	}
	return nil
}

func (r *Record) declare(t Transition) error {
	if t.Policy != nil {
		r.Policy = *t.Policy
	}
	if t.Units != nil {
		r.Units = slices.Clone(t.Units)
	}
	if t.Members == nil {
		return nil
	}
	kept := make([]Member, 0, len(t.Members))
	for _, want := range t.Members {
		if have, ok := r.Member(want.ID); ok {
			have.Site, have.Role, have.Agent, have.Database, have.Backup = want.Site, want.Role, want.Agent, want.Database, want.Backup
			kept = append(kept, have)
			continue
		}
		kept = append(kept, Member{ID: want.ID, Site: want.Site, Role: want.Role, Agent: want.Agent, Database: want.Database, Backup: want.Backup})
	}
	for _, have := range r.Members {
		gone := !slices.ContainsFunc(kept, func(m Member) bool { return m.ID == have.ID })
		life := estate.Life{Member: have.ID, N: have.Life}
		switch {
		case gone && have.ID == r.Owner.Member:
			return errs.New(errs.Refused, "cannot remove member %s from %s: it owns it; switch first", have.ID, r.Group)
		case gone && (r.InSyncLife(life) || slices.Contains(r.Heirs, life)):
			return errs.New(errs.Refused, "cannot remove member %s from %s: it is in the in-sync set; stop its agent first, then it leaves the set", have.ID, r.Group)
		}
	}
	r.Members = kept
	return nil
}

func (r *Record) release(t Transition) error {
	if !r.Quarantine {
		return errs.New(errs.Conflict, "cannot release %s: it is not in quarantine", r.Group)
	}
	if t.Person == "" {
		return errs.Refuse("I7", "cannot release %s: a named person has to", r.Group)
	}
	r.Quarantine, r.QuarantineOf = false, estate.Ownership{}
	return nil
}

func (r *Record) settle(t Transition) error {
	s := r.Switch
	if s == nil || s.Phase != Growing {
		return errs.New(errs.Conflict, "cannot settle %s: no switch of it is growing its set", r.Group)
	}
	s.Phase, s.Reason = Done, cause(t.Reason, "settled by "+t.Person+" without a grown set")
	s.At[Done] = t.Now
	return nil
}
