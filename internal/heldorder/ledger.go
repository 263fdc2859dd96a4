package heldorder

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// What names a word to a ledger.
type What string

// The closed list of words.
const (
	Import What = "imported" // orders are handed in
	Ask    What = "asked"    // the owner was asked, and this is what changed
	Drop   What = "dropped"  // orders are not entered, for a reason
)

// Word is what was said to a ledger.
type Word struct {
	// Seq counts the words of a ledger from 1.
	Seq  int       `json:"seq"`
	What What      `json:"what"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	// Orders are of Import, Proofs of Ask, Refs and Reason of Drop.
	Orders []Order `json:"orders,omitempty"`
	Proofs []Proof `json:"proofs,omitempty"`
	Refs   []Ref   `json:"refs,omitempty"`
	Reason string  `json:"reason,omitempty"`
}

// Empty reports whether nothing new is said.
func (w *Word) Empty() bool { return len(w.Orders)+len(w.Proofs)+len(w.Refs) == 0 }

// Found says what the owner has of the key of an order.
type Found string

// The closed list of what is found.
const (
	Present  Found = "entered"
	Absent   Found = "absent"    // no record
	Declined Found = "refused"   // a record of a request that was refused
	Differs  Found = "differing" // a record of another amount
)

// Proof is what the owner of a unit said of one order.
type Proof struct {
	Ref
	Found Found `json:"found"`
	// Ownership is that in which it was asked.
	Ownership estate.Ownership `json:"ownership"`
	// Status and Amount are those of the record, where there is one.
	Status int    `json:"status,omitempty"`
	Amount string `json:"amount,omitempty"`
}

// Entry is an order with how it stands.
type Entry struct {
	Order
	State    State     `json:"state"`
	AddedBy  string    `json:"addedBy"`
	AddedAt  time.Time `json:"addedAt"`
	Proof    *Proof    `json:"proof,omitempty"` // the last one that said something else than the one before
	ProvedAt time.Time `json:"provedAt,omitzero"`
	// DroppedBy dropped it, and why.
	DroppedBy string    `json:"droppedBy,omitempty"`
	DroppedAt time.Time `json:"droppedAt,omitzero"`
	Reason    string    `json:"reason,omitempty"`
}

// Ledger is the orders of one run. The zero Ledger is empty; it changes only by Add.
type Ledger struct {
	Run string
	// Seq is the number of the last word, Last when it was said.
	Seq     int
	Last    time.Time
	entries []Entry
	at      map[Ref]int
	keys    map[request]Ref // of those that count (H2)
}

// Entries are the orders in the order in which they came. Its caller does not change them.
func (l *Ledger) Entries() []Entry { return l.entries }

// Problem is what is wrong with one order of many: with the line of its file where it came from one.
type Problem struct {
	Line  int // 0: unknown
	Field string
	Why   string
}

// Judge gives what of a word is new, and problems where it may not be said; the one or the other. Orders that are refused are named by their place in the
// word: line says of each which line of its file it stands in, and may be nil.
func (l *Ledger) Judge(w Word, line func(i int) int) (Word, []Problem, error) {
	w.Seq = l.Seq + 1
	if w.By == "" {
		return w, nil, errs.New(errs.Internal, "cannot say %q to the orders of run %s: nobody says it", w.What, l.Run)
	}
	switch w.What {
	case Import:
		orders, problems := l.fresh(w.Orders, line)
		w.Orders = orders
		return w, problems, nil
	case Ask:
		w.Proofs = slices.DeleteFunc(slices.Clone(w.Proofs), func(p Proof) bool { return !l.tells(p) })
		return w, nil, nil
	case Drop:
		var err error
		w.Refs, err = l.droppable(w)
		return w, nil, err
	}
	return w, nil, invalid("%q is nothing that is said to orders", w.What)
}

// fresh gives the orders that are not there yet (H1, H2).
func (l *Ledger) fresh(orders []Order, line func(int) int) (fresh []Order, problems []Problem) {
	seen, keys := map[Ref]int{}, map[request]int{}
	wrong := func(i int, field, why string) {
		p := Problem{Field: field, Why: why}
		if line != nil {
			p.Line = line(i)
		}
		problems = append(problems, p)
	}
	for i := range orders {
		o := &orders[i]
		if field, why := o.wrong(); field != "" {
			wrong(i, field, why)
			continue
		}
		if have, ok := l.at[o.Ref()]; ok {
			if !l.entries[have].same(o) {
				wrong(i, "reference", "order "+o.Ref().String()+" is there already with other content: drop that one with a reason, and give the right one another reference")
			}
			continue
		}
		if before, ok := seen[o.Ref()]; ok {
			if !orders[before].same(o) {
				wrong(i, "reference", "order "+o.Ref().String()+" stands here twice with different content")
			}
			continue
		}
		seen[o.Ref()] = i
		if other, ok := l.keys[o.request()]; ok {
			wrong(i, "key", "it is that of order "+other.String()+" already: one request enters one order")
			continue
		}
		if before, ok := keys[o.request()]; ok {
			wrong(i, "key", "it is that of order "+orders[before].Ref().String()+" too: one request enters one order")
			continue
		}
		keys[o.request()] = i
		fresh = append(fresh, *o)
	}
	if n := len(l.entries) + len(fresh); n > MostOrders && len(problems) == 0 {
		problems = append(problems, Problem{Field: "orders", Why: digits(n) + " would be in the ledger, and " + digits(MostOrders) + " are the most"})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return fresh, nil
}

// tells reports whether a proof says something new of an order that is not dropped.
func (l *Ledger) tells(p Proof) bool {
	i, ok := l.at[p.Ref]
	if !ok || l.entries[i].State == Dropped {
		return false
	}
	before := l.entries[i].Proof
	if before == nil {
		return p.Found != Absent
	}
	return p.Found != before.Found || p.Status != before.Status || p.Amount != before.Amount || p.Found == Present && p.Ownership != before.Ownership
}

// droppable gives those of the orders that are not dropped yet, by somebody for the same reason.
func (l *Ledger) droppable(w Word) ([]Ref, error) {
	switch reason := strings.TrimSpace(w.Reason); {
	case reason == "":
		return nil, invalid("no order is dropped without a reason")
	case len(w.Reason) > MostReason:
		return nil, invalid("the reason has %d bytes, at most %d are kept", len(w.Reason), MostReason)
	case len(w.Refs) == 0:
		return nil, invalid("say which orders are dropped")
	}
	var out []Ref
	for _, r := range w.Refs {
		i, ok := l.at[r]
		if !ok {
			return nil, errs.New(errs.NotFound, "run %s has no order %s; perdure run orders list %s shows what there is", l.Run, r, l.Run)
		}
		switch e := &l.entries[i]; {
		case slices.Contains(out, r), e.State == Dropped && e.DroppedBy == w.By && e.Reason == w.Reason:
		case e.State == Dropped:
			return nil, errs.Refuse("H5", "order %s was dropped by %s already: %s", r, e.DroppedBy, e.Reason)
		case e.State == Entered:
			return nil, errs.Refuse("H5", "order %s was found at the owner of %s in ownership %s: what was entered is not dropped", r, e.Unit, e.Proof.Ownership)
		default:
			out = append(out, r)
		}
	}
	return out, nil
}

// Add takes up a word that Judge gave, the next one.
func (l *Ledger) Add(w Word) error {
	if w.Seq != l.Seq+1 {
		return errs.New(errs.Internal, "word %d is said to the orders of run %s after word %d", w.Seq, l.Run, l.Seq)
	}
	if l.at == nil {
		l.at, l.keys = map[Ref]int{}, map[request]Ref{}
	}
	l.Seq, l.Last = w.Seq, w.At
	for _, o := range w.Orders {
		l.at[o.Ref()] = len(l.entries)
		l.keys[o.request()] = o.Ref()
		l.entries = append(l.entries, Entry{Order: o, State: Open, AddedBy: w.By, AddedAt: w.At})
	}
	for _, p := range w.Proofs {
		i, ok := l.at[p.Ref]
		if !ok {
			return errs.New(errs.Internal, "run %s has no order %s, and something was found of it", l.Run, p.Ref)
		}
		e := &l.entries[i]
		e.Proof, e.ProvedAt, e.State = &p, w.At, Open
		if p.Found == Present {
			e.State = Entered
		}
	}
	for _, r := range w.Refs {
		i, ok := l.at[r]
		if !ok {
			return errs.New(errs.Internal, "run %s has no order %s, and it was dropped", l.Run, r)
		}
		e := &l.entries[i]
		e.State, e.DroppedBy, e.DroppedAt, e.Reason = Dropped, w.By, w.At, w.Reason
		delete(l.keys, e.request())
	}
	return nil
}

// usualRetention is that of a database whose record names none.
const usualRetention = 7 * 24 * time.Hour

// Holds reports whether what was found in an ownership at a time is still there now: nothing from it on was left with a loss. Once the retention of keys is
// over nobody can be asked any more, and it holds (H4).
func Holds(rec *unit.Record, found estate.Ownership, at, now time.Time) bool {
	if found == rec.Ownership || now.Sub(at) > cmp.Or(rec.Policy.Retention, usualRetention) {
		return true
	}
	i := slices.IndexFunc(rec.Past, func(p unit.Past) bool { return p.Ownership == found })
	return i >= 0 && found.Incarnation == rec.Ownership.Incarnation && !slices.ContainsFunc(rec.Past[i:], func(p unit.Past) bool { return p.ExpectedLoss })
}

// holds reports whether an order that was entered still counts as that.
func (e *Entry) holds(rec *unit.Record, now time.Time) bool {
	return Holds(rec, e.Proof.Ownership, e.ProvedAt, now)
}

// Unproved are the orders of a unit that its owner has to be asked for: those that are open, and those whose proof does not count any more.
func (l *Ledger) Unproved(u estate.UnitID, rec *unit.Record, now time.Time) []Order {
	var out []Order
	for i := range l.entries {
		if e := &l.entries[i]; e.Unit == u && (e.State == Open || e.State == Entered && !e.holds(rec, now)) {
			out = append(out, e.Order)
		}
	}
	return out
}

// Record is what an owner has recorded under the key of an order.
type Record struct {
	Status int
	Amount string // decimal; "": it has none
}

// Compare says what the record of an order proves; nil: there is none.
func Compare(o *Order, in estate.Ownership, r *Record) Proof {
	p := Proof{Ref: o.Ref(), Ownership: in, Found: Absent}
	if r == nil {
		return p
	}
	p.Status, p.Amount = r.Status, r.Amount
	switch {
	case r.Status < 200 || r.Status > 299:
		p.Found = Declined
	case r.Amount != "" && !sameAmount(r.Amount, o.Amount):
		p.Found = Differs
	default:
		p.Found = Present
	}
	return p
}

// Totals counts orders, and adds up what they are about.
type Totals struct {
	Unit estate.UnitID `json:"unit,omitempty"` // that they are of; "": of all
	// Held and DR are by kind, Open, Entered and Dropped by state.
	Held          int    `json:"held"`
	DR            int    `json:"dr"`
	Open          int    `json:"open"`
	Entered       int    `json:"entered"`
	Dropped       int    `json:"dropped"`
	OpenAmount    string `json:"openAmount"`
	EnteredAmount string `json:"enteredAmount"`
	DroppedAmount string `json:"droppedAmount"`
	// Proved says in which ownerships those were found that are entered, and when the last of each was.
	Proved []Proved `json:"proved,omitempty"`
}

// Proved is an ownership in which orders were found.
type Proved struct {
	Ownership estate.Ownership `json:"ownership"`
	Last      time.Time        `json:"last"`
}

// All is how many there are.
func (t *Totals) All() int { return t.Held + t.DR }

// Settled reports whether nothing is open, and no proof has to be asked for again.
func (t *Totals) Settled(rec *unit.Record, now time.Time) bool {
	return t.Open == 0 && !slices.ContainsFunc(t.Proved, func(p Proved) bool { return !Holds(rec, p.Ownership, p.Last, now) })
}

// Totals are those of each unit, by name; of one holder alone, or "": of all.
func (l *Ledger) Totals(holder string) []Totals {
	of := map[estate.UnitID]*counter{}
	for i := range l.entries {
		e := &l.entries[i]
		if holder != "" && e.Holder != holder {
			continue
		}
		if of[e.Unit] == nil {
			of[e.Unit] = &counter{Totals: Totals{Unit: e.Unit}}
		}
		of[e.Unit].count(e)
	}
	out := []Totals{}
	for _, c := range of {
		out = append(out, c.totals())
	}
	slices.SortFunc(out, func(a, b Totals) int { return strings.Compare(string(a.Unit), string(b.Unit)) })
	return out
}

// TotalsNow are those of a unit with what its owner has to be asked for again counted as open (H4).
func (l *Ledger) TotalsNow(u estate.UnitID, rec *unit.Record, now time.Time) Totals {
	c := counter{Totals: Totals{Unit: u}}
	for i := range l.entries {
		e := l.entries[i]
		if e.Unit != u {
			continue
		}
		if e.State == Entered && !e.holds(rec, now) {
			e.State = Open
		}
		c.count(&e)
	}
	return c.totals()
}

// Together adds totals up.
func Together(list []Totals) Totals {
	out, open, entered, dropped := Totals{}, Sum{}, Sum{}, Sum{}
	for _, t := range list {
		out.Held, out.DR, out.Open, out.Entered, out.Dropped = out.Held+t.Held, out.DR+t.DR, out.Open+t.Open, out.Entered+t.Entered, out.Dropped+t.Dropped
		open.Add(t.OpenAmount)
		entered.Add(t.EnteredAmount)
		dropped.Add(t.DroppedAmount)
	}
	out.OpenAmount, out.EnteredAmount, out.DroppedAmount = open.String(), entered.String(), dropped.String()
	return out
}

type counter struct {
	Totals
	open, entered, dropped Sum
}

func (c *counter) count(e *Entry) {
	switch e.Kind {
	case Held:
		c.Held++
	case DR:
		c.DR++
	}
	switch e.State {
	case Open:
		c.Open++
		c.open.Add(e.Amount)
	case Entered:
		c.Entered++
		c.entered.Add(e.Amount)
		at := slices.IndexFunc(c.Proved, func(p Proved) bool { return p.Ownership == e.Proof.Ownership })
		if at < 0 {
			at, c.Proved = len(c.Proved), append(c.Proved, Proved{Ownership: e.Proof.Ownership})
		}
		if p := &c.Proved[at]; e.ProvedAt.After(p.Last) {
			p.Last = e.ProvedAt
		}
	case Dropped:
		c.Dropped++
		c.dropped.Add(e.Amount)
	}
}

func (c *counter) totals() Totals {
	c.OpenAmount, c.EnteredAmount, c.DroppedAmount = c.open.String(), c.entered.String(), c.dropped.String()
	slices.SortFunc(c.Proved, func(a, b Proved) int {
		return cmp.Or(a.Ownership.Compare(b.Ownership), strings.Compare(a.Ownership.Incarnation.ID, b.Ownership.Incarnation.ID))
	})
	return c.Totals
}

// Head is a ledger at a glance.
type Head struct {
	Run   string   `json:"run"`
	Seq   int      `json:"seq"`
	Units []Totals `json:"units"`
	// Revision is that of the store, 0: there is no ledger yet.
	Revision int64 `json:"revision,omitempty"`
}

// Head is the ledger at a glance.
func (l *Ledger) Head() Head { return Head{Run: l.Run, Seq: l.Seq, Units: l.Totals("")} }

// Event is what the audit log calls a word to the orders of a run.
const Event = "run.orders"

// Said is the detail of such an event.
type Said struct {
	Seq  int  `json:"seq"`
	What What `json:"what"`
	// SHA256 is that of the word as it is kept, in hex; Orders how many it is about.
	SHA256 string `json:"sha256"`
	Orders int    `json:"orders"`
	Reason string `json:"reason,omitempty"`
}
