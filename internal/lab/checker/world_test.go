package checker_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/lab/checker"
	"perdure/internal/lab/history"
	"perdure/internal/unit"
)

// world is a correct product in miniature. It lives through a story and leaves the history and the facts that a real run would leave.
type world struct {
	rand     *rand.Rand
	now      time.Duration
	events   []history.Event
	units    []*bank
	balances map[string]history.Amount
	calls    uint64
	plain    bool // every message is delivered
	facts    checker.Contents
	index    map[string]int // of records by key
}

// bank is one unit and its replication group.
type bank struct {
	id       estate.UnitID
	accounts []string
	record   unit.Record
	txs      []tx // committed at the owner, in order
	forks    []estate.LSN
}

// tx is one committed transaction.
type tx struct {
	seq       int64
	scope     checker.Scope
	op        history.Op
	account   string // routed by
	to        string
	amount    history.Amount
	ownership estate.Ownership
	inbound   bool // the credit of another unit's message, or a refused one given back
	pending   bool // its message is not delivered yet
	refused   bool // its message was refused and is given back
	sent      time.Duration
}

const wallBase = int64(1_700_000_000_000_000_000)

func newWorld(seed uint64) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), balances: map[string]history.Amount{}}
	w.emit(history.Event{Begin: &history.Begin{Format: 1, At: history.Instant{Wall: wallBase}, Estate: "example", Seed: seed, Clearings: true}})
	w.emit(history.Event{Client: &history.Client{Site: "a", Caller: "load-a"}})
	w.emit(history.Event{Client: &history.Client{Site: "b", Caller: "load-b"}})
	for i, home := range []string{"a", "b"} {
		b := &bank{id: estate.UnitID(fmt.Sprintf("u%d", i+1))}
		b.record = unit.Record{
			Group: estate.GroupID(b.id), Units: []estate.UnitID{b.id}, State: unit.Open,
			Ownership: estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 1},
			Owner:     b.life(home), Opened: wallBase / 1e6,
		}
		for _, s := range []string{"a", "b", "c"} {
			b.record.Members = append(b.record.Members, unit.Member{ID: b.life(s).Member, Site: estate.SiteID(s), Following: b.record.Ownership})
		}
		for n := range 5 {
			name := fmt.Sprintf("%s-acc-%d", b.id, n)
			b.accounts = append(b.accounts, name)
			w.balances[name] = history.Cents(1_000_000)
			w.emit(history.Event{Opening: &history.Opening{Unit: b.id, Account: name, Amount: history.Cents(1_000_000)}})
		}
		w.units = append(w.units, b)
	}
	w.pass(20 * time.Millisecond)
	return w
}

func (b *bank) life(site string) estate.Life {
	return estate.Life{Member: estate.MemberID(string(b.id) + "-" + site), N: 1}
}

func (w *world) emit(e history.Event) { w.events = append(w.events, e) }
func (w *world) pass(d time.Duration) { w.now += d }
func (w *world) at(t time.Duration) history.Instant {
	return history.Instant{Mono: t, Wall: wallBase + int64(t)}
}
func (w *world) millis() int64 { return (wallBase + int64(w.now)) / 1e6 }

func (w *world) mark(edge history.Edge, step string, mode history.Mode, expect history.Expect) {
	w.pass(time.Millisecond)
	w.emit(history.Event{Mark: &history.Mark{At: w.at(w.now), Edge: edge, Step: step, Mode: mode, Expect: expect}})
	w.pass(time.Millisecond)
}

func (w *world) fault(edge history.Edge, id, what string, inside ...estate.SiteID) {
	w.emit(history.Event{Fault: &history.Fault{At: w.at(w.now), Edge: edge, ID: id, What: what, Inside: inside}})
}

// load makes n calls on each unit, about 4 ms apart.
func (w *world) load(n int) {
	for range n {
		for i := range w.units {
			w.operate(i)
		}
	}
}

// operate makes one call, answered properly.
func (w *world) operate(i int) {
	b := w.units[i]
	w.pass(time.Duration(1+w.rand.IntN(2)) * time.Millisecond)
	sent := w.now - time.Duration(w.rand.IntN(900))*time.Microsecond
	call := w.draw(i, sent)
	if call.Op == history.Balance {
		call.Value = w.balances[call.From]
		w.answer(b, call)
		return
	}
	if w.rand.IntN(40) == 0 {
		call.Outcome, call.Status, call.Stamped, call.Result = history.Refused, 422, "refused", "00"
		w.answer(b, call)
		return
	}
	w.commit(b, call)
	call.Outcome, call.Status, call.Stamped, call.Result = history.Acknowledged, 201, "committed", "r-"+call.Key
	w.answer(b, call)
	if w.rand.IntN(30) == 0 {
		w.pass(time.Millisecond)
		again := *call
		again.Phase, again.First, again.Sent, again.Stamped = history.Duplicate, call.ID, w.at(w.now), "replayed"
		w.calls++
		again.ID = w.calls
		w.pass(100 * time.Microsecond)
		w.answer(b, &again)
	}
}

func (w *world) draw(i int, sent time.Duration) *history.Call {
	b := w.units[i]
	w.calls++
	site := []string{"a", "b"}[w.rand.IntN(2)]
	from := w.rand.IntN(len(b.accounts))
	c := &history.Call{
		ID: w.calls, Site: estate.SiteID(site), Caller: "load-" + site, Key: fmt.Sprintf("k%06d", w.calls), From: b.accounts[from], Unit: b.id,
		Amount: history.Cents(1 + w.rand.Int64N(500)), Sent: w.at(sent), Outcome: history.Acknowledged, Status: 200,
		Op: []history.Op{history.Transfer, history.Transfer, history.Transfer, history.Credit, history.Debit, history.Cross, history.Balance}[w.rand.IntN(7)],
	}
	switch c.Op {
	case history.Transfer:
		c.To = b.accounts[(from+1+w.rand.IntN(len(b.accounts)-1))%len(b.accounts)]
	case history.Cross:
		c.To = w.units[1-i].accounts[w.rand.IntN(5)]
	case history.Balance:
		c.Key, c.Amount = "", 0
	default:
	}
	return c
}

// commit executes the call at the owner, and credits a cross-transfer at the other unit.
func (w *world) commit(b *bank, c *history.Call) {
	scope := checker.Scope{Caller: c.Caller, RoutingKey: c.From, Key: c.Key}
	b.txs = append(b.txs, tx{seq: int64(len(b.txs) + 1), scope: scope, op: c.Op, account: c.From, to: c.To, amount: c.Amount, ownership: b.record.Ownership, sent: c.Sent.Mono})
	w.apply(b.txs[len(b.txs)-1], 1)
	if c.Op != history.Cross {
		return
	}
	switch fate := w.rand.IntN(12); {
	case w.plain:
	case fate == 0:
		b.txs[len(b.txs)-1].pending = true
		return
	case fate == 1:
		b.txs[len(b.txs)-1].refused = true
		back := tx{seq: int64(len(b.txs) + 1), scope: checker.Scope{Caller: "outbox", RoutingKey: c.From, Key: "b-" + c.Key}, op: history.Credit, account: c.From, amount: c.Amount, ownership: b.record.Ownership, inbound: true, sent: w.now}
		b.txs = append(b.txs, back)
		w.apply(back, 1)
		return
	}
	for _, other := range w.units {
		if other != b && slices.Contains(other.accounts, c.To) {
			if slices.ContainsFunc(other.txs, func(t tx) bool { return t.scope.Key == "x-"+c.Key }) {
				return // the debit was lost and executed anew: its message has the same key
			}
			credit := tx{seq: int64(len(other.txs) + 1), scope: checker.Scope{Caller: "outbox", RoutingKey: c.To, Key: "x-" + c.Key}, op: history.Credit, account: c.To, amount: c.Amount, ownership: other.record.Ownership, inbound: true, sent: w.now}
			other.txs = append(other.txs, credit)
			w.apply(credit, 1)
		}
	}
}

// apply moves the money of a transaction, or takes it back with sign -1.
func (w *world) apply(t tx, sign history.Amount) {
	switch t.op {
	case history.Credit:
		w.balances[t.account] += sign * t.amount
	default:
		w.balances[t.account] -= sign * t.amount
		if t.op == history.Transfer {
			w.balances[t.to] += sign * t.amount
		}
	}
}

// answer ends the call now.
func (w *world) answer(b *bank, c *history.Call) {
	w.pass(time.Duration(w.rand.IntN(600)) * time.Microsecond)
	c.Done = w.now
	c.Ownership = b.record.Ownership.String()
	c.Attempts = append(c.Attempts, history.Attempt{Gateway: "g", From: c.Sent.Mono, Until: c.Done, Ending: history.Answered, Status: c.Status})
	w.emit(history.Event{Call: c})
}

// hand passes ownership on as the product's record would tell it.
func (w *world) hand(b *bank, site string, mode unit.Mode, lossy bool) {
	r := &b.record
	past := unit.Past{Ownership: r.Ownership, Owner: r.Owner, Mode: mode, Opened: r.Opened, Ended: w.millis(), ExpectedLoss: lossy, Severed: estate.LSN(w.now)}
	b.forks = append(b.forks, past.Severed-estate.LSN(w.rand.IntN(50)))
	r.Past = append(r.Past, past)
	r.Ownership = r.Ownership.Next()
	if lossy {
		r.Ownership.Incarnation = estate.Incarnation{Counter: r.Ownership.Incarnation.Counter + 1, ID: "y"}
	}
	r.Owner = b.life(site)
	w.pass(20 * time.Millisecond)
	r.Opened = w.millis()
	w.pass(5 * time.Millisecond)
	for i := range r.Members {
		if r.Members[i].ID == r.Owner.Member {
			r.Members[i].Following = r.Ownership
		}
	}
}

// planned is a step with a planned switch.
func (w *world) planned(i int, site string, mode unit.Mode) {
	b := w.units[i]
	name := fmt.Sprintf("%s-%s-to-%s-%d", mode, b.id, site, len(w.events))
	w.mark(history.Starts, name, history.Mode(mode), history.Expect{Exact: true, Switches: map[estate.UnitID]int{b.id: 1}})
	w.load(25)
	began := w.millis()
	w.pass(30 * time.Millisecond)
	w.hand(b, site, mode, false)
	b.record.Switch = &unit.Switch{ID: name, Mode: mode, Phase: unit.Done, At: map[unit.Phase]int64{
		unit.Closing: began, unit.MarkShut: began + 5, unit.Drained: began + 11, unit.Promotion: began + 18, unit.MarkSevered: began + 20, unit.MarkPromoted: began + 29,
		unit.Growing: w.millis(),
	}}
	w.load(25)
	b.record.Switch.At[unit.Done] = w.millis()
	w.follow(b)
	w.mark(history.Ends, name, "", history.Expect{})
}

// follow lets every member follow the owner and records the group.
func (w *world) follow(b *bank) {
	for i := range b.record.Members {
		b.record.Members[i].Following = b.record.Ownership
	}
	w.report(b)
}

func (w *world) report(b *bank) {
	r := b.record.Clone()
	w.emit(history.Event{Group: &history.Group{At: w.at(w.now), Record: r}})
}

// failover kills the owner with some transactions committed on it alone; their clients try again at the successor.
func (w *world) failover(i int, site string, withCopy bool) {
	b := w.units[i]
	name := fmt.Sprintf("failover-%s-to-%s-%d", b.id, site, len(w.events))
	w.mark(history.Starts, name, history.Failover, history.Expect{Exact: true, Diverged: 1, Switches: map[estate.UnitID]int{b.id: 1}})
	w.load(25)
	left, member := b.record.Ownership, b.record.Owner.Member
	var alone []*history.Call
	old := slices.Clone(b.txs)
	for range 1 + w.rand.IntN(5) {
		c := w.draw(i, w.now)
		for c.Op == history.Balance || c.Op == history.Cross {
			c = w.draw(i, w.now)
		}
		old = append(old, tx{seq: int64(len(old) + 1), scope: checker.Scope{Caller: c.Caller, RoutingKey: c.From, Key: c.Key}, op: c.Op, account: c.From, to: c.To, amount: c.Amount, ownership: left})
		alone = append(alone, c)
	}
	w.pass(time.Millisecond)
	w.fault(history.Starts, name, "kill")
	for _, c := range alone {
		w.pass(100 * time.Microsecond)
		c.Attempts = append(c.Attempts, history.Attempt{Gateway: "g", From: c.Sent.Mono, Until: w.now, Ending: history.Reset})
	}
	if withCopy {
		rows := 0
		for _, t := range old {
			if t.ownership == left {
				rows++
				row := history.Row{Copy: name, Unit: b.id, Seq: t.seq, Caller: t.scope.Caller, RoutingKey: t.scope.RoutingKey, Key: t.scope.Key, Amount: t.amount, Accounts: accountsOf(t), Ownership: t.ownership}
				w.emit(history.Event{Row: &row})
			}
		}
		w.emit(history.Event{Copy: &history.Copy{At: w.at(w.now), Copy: name, Group: b.record.Group, Member: member, Left: left, Rows: rows, Final: true}})
	}
	w.pass(400 * time.Millisecond)
	w.hand(b, site, unit.Failover, false)
	for _, c := range alone {
		w.pass(500 * time.Microsecond)
		w.commit(b, c)
		c.Outcome, c.Status, c.Stamped, c.Result, c.Replays = history.Acknowledged, 201, "committed", "r-"+c.Key, 1
		w.answer(b, c)
	}
	w.load(25)
	w.fault(history.Ends, name, "kill")
	list := history.Divergence{At: w.at(w.now), Group: b.record.Group, Member: member, Left: left}
	for _, c := range alone {
		list.List.Transactions = append(list.List.Transactions, driver.DivergedTransaction{Unit: b.id, Caller: c.Caller, RoutingKey: c.From, Key: c.Key, Amount: c.Amount.String(), Settled: true})
	}
	w.emit(history.Event{Divergence: &list})
	w.follow(b)
	if w.rand.IntN(2) == 0 {
		w.resend(b, alone)
	}
	w.mark(history.Ends, name, "", history.Expect{})
}

// resend brings requests in again, each with its own key: what is recorded is answered from its record, what is not is executed.
func (w *world) resend(b *bank, calls []*history.Call) {
	for _, first := range calls {
		w.pass(300 * time.Microsecond)
		w.calls++
		c := *first
		c.ID, c.Phase, c.First, c.Listed, c.Sent, c.Attempts, c.Replays = w.calls, history.Resend, first.ID, first.Key, w.at(w.now), nil, 0
		c.Outcome, c.Status, c.Stamped, c.Result = history.Acknowledged, 201, "replayed", "r-"+c.Key
		if !slices.ContainsFunc(b.txs, func(t tx) bool { return t.scope.Key == c.Key }) {
			c.Stamped = "committed"
			w.commit(b, &c)
		}
		w.answer(b, &c)
	}
}

// cutOff lets a copy take over from an owner that lives on unseen: some writes go there until it hears of its successor, are committed
// and never acknowledged (I4). Their clients try again at the successor.
func (w *world) cutOff(i int, site string, exact bool) {
	b := w.units[i]
	name := fmt.Sprintf("cut-off-%s-to-%s-%d", b.id, site, len(w.events))
	w.mark(history.Starts, name, history.Failover, history.Expect{Exact: exact, Switches: map[estate.UnitID]int{b.id: 1}})
	w.load(25)
	left, member := b.record.Ownership, b.record.Owner.Member
	w.fault(history.Starts, name, "cut")
	w.pass(400 * time.Millisecond)
	w.hand(b, site, unit.Failover, false)
	w.load(5)
	list := history.Divergence{Group: b.record.Group, Member: member, Left: left}
	for range 1 + w.rand.IntN(5) {
		w.pass(100 * time.Microsecond)
		c := w.draw(i, w.now)
		for c.Op == history.Balance || c.Op == history.Cross {
			c = w.draw(i, w.now)
		}
		if w.rand.IntN(2) == 0 {
			w.pass(20 * time.Millisecond)
			c.Attempts = append(c.Attempts, history.Attempt{Gateway: "g", From: c.Sent.Mono, Until: w.now, Ending: history.TimedOut})
		} else {
			c.Replays = 1 // the gateway went on to the successor by itself
		}
		w.pass(500 * time.Microsecond)
		w.commit(b, c)
		c.Outcome, c.Status, c.Stamped, c.Result = history.Acknowledged, 201, "committed", "r-"+c.Key
		w.answer(b, c)
		list.List.Transactions = append(list.List.Transactions, driver.DivergedTransaction{Unit: b.id, Caller: c.Caller, RoutingKey: c.From, Key: c.Key, Amount: c.Amount.String(), Settled: true})
	}
	w.load(25)
	w.fault(history.Ends, name, "cut")
	list.At = w.at(w.now)
	w.emit(history.Event{Divergence: &list})
	w.follow(b)
	w.mark(history.Ends, name, "", history.Expect{})
}

func accountsOf(t tx) []string {
	if t.to != "" {
		return []string{t.account, t.to}
	}
	return []string{t.account}
}

// emergency loses the last transactions of the unit with its city; two people accept it.
func (w *world) emergency(i int, lost int) { w.lossy(i, lost, 0, false) }

// lossy is an emergency in which people bring in again so many of the transactions that are lost; all says that the story wants each there again.
func (w *world) lossy(i int, lost, back int, all bool) {
	b := w.units[i]
	name := fmt.Sprintf("emergency-%s-%d", b.id, len(w.events))
	expect := history.Expect{Loss: true, Exact: true, NoSurvivor: true}
	if all {
		expect.Resent = lost
	}
	w.mark(history.Starts, name, history.Emergency, expect)
	w.load(25)
	// A tail that the remote copy did not get. The credits of its cross-transfers stay at the other unit.
	w.plain = true
	first := len(b.txs)
	var gone []*history.Call
	for range lost {
		w.pass(2 * time.Millisecond)
		c := w.draw(i, w.now)
		for c.Op == history.Balance {
			c = w.draw(i, w.now)
		}
		w.commit(b, c)
		c.Outcome, c.Status, c.Stamped, c.Result = history.Acknowledged, 201, "committed", "r-"+c.Key
		w.answer(b, c)
		gone = append(gone, c)
	}
	w.plain = false
	amount, accounts := history.Amount(0), map[string]bool{}
	for _, t := range b.txs[first:] {
		w.apply(t, -1)
		amount += t.amount
		for _, a := range accountsOf(t) {
			accounts[a] = true
		}
	}
	b.txs = b.txs[:first]
	w.fault(history.Starts, name, "kill")
	w.pass(2 * time.Second)
	b.record.Switch = &unit.Switch{
		ID: name, Mode: unit.Emergency, Ownership: b.record.Ownership, Lossy: true,
		Approvals: []unit.Approval{{By: "ann"}, {By: "bob"}},
		Loss:      &unit.Loss{Transactions: int64(lost), Accounts: int64(len(accounts)), Amount: amount.String()},
	}
	w.hand(b, "c", unit.Emergency, true)
	w.emit(history.Event{Clearing: &history.Clearing{At: w.at(w.now), Unit: b.id, What: history.Verifies}})
	w.load(25)
	w.plain = true
	w.resend(b, gone[:back])
	w.plain = false
	w.report(b)
	w.fault(history.Ends, name, "kill")
	w.mark(history.Ends, name, "", history.Expect{})
}

// begin and end are the load's edges.
func (w *world) begin() {
	w.emit(history.Event{Load: &history.Load{At: w.at(w.now), What: history.LoadBegins}})
}

// end closes the story and draws up the facts.
func (w *world) end() {
	w.emit(history.Event{Load: &history.Load{At: w.at(w.now), What: history.LoadEnds}})
	w.pass(10 * time.Millisecond)
	for _, b := range w.units {
		w.report(b)
	}
	w.emit(history.Event{End: &history.End{At: w.at(w.now), Events: uint64(len(w.events))}})
	w.draw2()
}

// draw2 draws up what lies in the databases.
func (w *world) draw2() {
	w.facts = checker.Contents{ForkRows: map[estate.UnitID][]estate.LSN{}}
	entry := int64(0)
	for _, b := range w.units {
		f := &w.facts
		f.UnitIDs = append(f.UnitIDs, b.id)
		f.ForkRows[b.id] = slices.Clone(b.forks)
		internal, held := map[string]history.Amount{}, map[string]history.Amount{}
		for _, t := range b.txs {
			entry++
			f.RecordRows = append(f.RecordRows, checker.Record{Scope: t.scope, Unit: b.id, Seq: t.seq, Status: 201, Result: "r-" + t.scope.Key, Amount: t.amount, Accounts: accountsOf(t), Ownership: t.ownership})
			post := func(account string, amount history.Amount) {
				held[account] += amount
				f.PostingRows = append(f.PostingRows, checker.Posting{
					Cause: t.scope, Unit: b.id, Entry: entry, Account: account, Amount: amount,
					After: history.Cents(1_000_000) + held[account], HasAfter: account[0] != '!',
				})
				if account[0] == '!' {
					internal[account] += amount
				}
			}
			switch {
			case t.inbound:
				post("!transit", -t.amount)
				post(t.account, t.amount)
			case t.op == history.Credit:
				post("!external", -t.amount)
				post(t.account, t.amount)
			case t.op == history.Debit:
				post(t.account, -t.amount)
				post("!external", t.amount)
			case t.op == history.Cross:
				post(t.account, -t.amount)
				post("!transit", t.amount)
				f.MessageRows = append(f.MessageRows, checker.Message{Unit: b.id, Cause: t.scope, RoutingKey: t.to, Key: "x-" + t.scope.Key, Account: t.to, Amount: t.amount, Delivered: !t.pending && !t.refused, Returned: t.refused})
			default:
				post(t.account, -t.amount)
				post(t.to, t.amount)
			}
		}
		for _, a := range b.accounts {
			f.AccountRows = append(f.AccountRows, checker.Account{Unit: b.id, ID: a, Kind: checker.Customer, Opening: history.Cents(1_000_000), Balance: w.balances[a]})
		}
		f.AccountRows = append(f.AccountRows,
			checker.Account{Unit: b.id, ID: "!external", Kind: checker.External, Balance: internal["!external"]},
			checker.Account{Unit: b.id, ID: "!transit", Kind: checker.Transit, Balance: internal["!transit"]})
	}
}

func (w *world) history() iter.Seq2[history.Event, error] {
	return func(yield func(history.Event, error) bool) {
		for _, e := range w.events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// story is a run with every kind of step.
func story(seed uint64) *world {
	w := newWorld(seed)
	w.begin()
	w.load(20)
	w.planned(0, "b", unit.Takeover)
	w.planned(0, "a", unit.SwitchBack)
	w.failover(0, "b", true)
	w.failover(1, "a", false)
	w.load(20)
	w.cutOff(1, "b", false)
	w.load(20)
	w.emergency(0, 7)
	w.end()
	return w
}

// copyOf is a deep copy of the events, so that a defect can be seeded in it.
func (w *world) copyOf() *world {
	c := *w
	c.index = nil
	text, err := json.Marshal(w.events)
	if err != nil {
		panic(err)
	}
	c.events = nil
	if err := json.Unmarshal(text, &c.events); err != nil {
		panic(err)
	}
	f := w.facts
	c.facts = checker.Contents{UnitIDs: slices.Clone(f.UnitIDs), RecordRows: slices.Clone(f.RecordRows), AccountRows: slices.Clone(f.AccountRows), PostingRows: slices.Clone(f.PostingRows), MessageRows: slices.Clone(f.MessageRows), ForkRows: map[estate.UnitID][]estate.LSN{}}
	for u, forks := range f.ForkRows {
		c.facts.ForkRows[u] = slices.Clone(forks)
	}
	return &c
}
