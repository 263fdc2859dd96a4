package document

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/heldorder"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// Document is what all formats are written from.
type Document struct {
	Language Language
	Title    string
	Subtitle string
	Sections []Section
	// Made is the instant that files give as that of their making: that of the journal's last entry, or when the estate was applied.
	Made time.Time
}

// Section has facts, or a table.
type Section struct {
	Title string
	Facts [][2]string // name and value
	Head  []string
	Rows  [][]string
}

// Source is what the document of a run is made of.
type Source struct {
	Run     string
	Program *plan.Program
	Journal []run.Entry
	// ProgramSum is the SHA-256 of the program as the store keeps it, in hex; empty where it is not known.
	ProgramSum string
	// Orders are those that were held because of the run; nil, or without entries: there are none.
	Orders *heldorder.Ledger
	// Origin is the evidence log that the journal is in, and Leaves the numbers of its entries there; empty where that is not known.
	Origin string
	Leaves []int64
}

// Report is the drill record or the switch report of a run. The zone is that of all times. The error is that of a journal that does not
// fit the program.
func Report(src Source, l Language, zone *time.Location) (*Document, error) {
	w, err := newWriter(src, l, zone)
	if err != nil {
		return nil, err
	}
	evidence, err := w.evidence()
	if err != nil {
		return nil, err
	}
	d := w.document("title.")
	sections := []Section{w.summary(), w.parameters(), w.clocks(), w.steps(), w.people(), w.reconciled()}
	sections = append(sections, w.orders()...)
	w.fill(d, append(sections, w.deviations(), w.path(), w.undoing(), evidence))
	if l := src.Orders; l != nil && l.Last.After(d.Made) { // what becomes of orders goes on after the run
		d.Made = l.Last.UTC()
	}
	return d, nil
}

func newWriter(src Source, l Language, zone *time.Location) (*writer, error) {
	m, err := measure.Of(src.Run, src.Program, src.Journal)
	if err != nil {
		return nil, err
	}
	if m.Entries == 0 {
		return nil, errs.New(errs.Internal, "run %s has no journal", src.Run)
	}
	r, err := run.Replay(src.Run, src.Program, src.Journal)
	if err != nil {
		return nil, err
	}
	return &writer{pen: pen{t: textsOf(l), more: "more"}, src: src, l: l, m: m, r: r, zone: zone}, nil
}

// document has the title of the mode, from a list of such, and no sections yet.
func (w *writer) document(titles string) *Document {
	title := "run"
	switch w.m.Mode {
	case plan.Drill:
		title = "drill"
	case plan.Takeover, plan.Emergency, plan.SwitchBack, plan.Failover, plan.Move, plan.Change:
		title = "switch"
	case plan.Experiment, plan.Verification, plan.Inspection:
	}
	if w.m.Tabletop {
		title = "drill"
	}
	return &Document{
		Language: w.l, Title: w.t.say(titles + title), Made: w.src.Journal[w.m.Entries-1].At.UTC(),
		Subtitle: w.t.say("subtitle", w.clean(w.plan()), w.mode(), w.clean(w.src.Run)),
	}
}

type writer struct {
	pen
	src  Source
	l    Language
	m    *measure.Measures
	r    *run.Run
	zone *time.Location
}

func (w *writer) at(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.In(w.zone).Format("2006-01-02 15:04:05.000")
}

// mode is the mode of the run, and its form where that is a tabletop.
func (w *writer) mode() string {
	word := w.t.word("mode", string(w.m.Mode))
	if w.m.Tabletop {
		return w.t.say("tabletop", word)
	}
	return word
}

func (w *writer) plan() string {
	if w.m.Title != "" {
		return w.m.Title
	}
	return w.m.Plan
}

func (w *writer) summary() Section {
	t, m := w.t, w.m
	s := Section{Title: t.say("summary")}
	fact := func(key, value string) { s.Facts = append(s.Facts, [2]string{t.say(key), value}) }
	fact("run", m.Run)
	name := m.Plan
	if m.Title != "" {
		name = m.Plan + " – " + m.Title
	}
	fact("plan", name)
	fact("mode", w.mode())
	fact("startedBy", m.StartedBy)
	if m.Reason != "" {
		fact("reason", m.Reason)
	}
	if in := calendar.OpeningOf(w.src.Journal[0].Facts); in != nil {
		fact("beganIn", t.say("beganIn.window", in.Window, w.at(in.Until), in.By()))
	}
	if !m.DisruptedAt.IsZero() {
		fact("disruptedAt", w.at(m.DisruptedAt))
	}
	if !m.DetectedAt.IsZero() {
		fact("detectedAt", w.at(m.DetectedAt))
	}
	fact("start", w.at(m.Start))
	if m.End.IsZero() {
		fact("outcome", t.say("notOver"))
		fact("asOf", t.say("entryOf", m.Entries, w.at(w.src.Journal[m.Entries-1].At)))
	} else {
		fact("end", w.at(m.End))
		d := m.End.Sub(m.Start)
		fact("duration", t.took(d))
		fact("outcome", t.word("outcome", string(m.Outcome)))
	}
	if w.r.Reason != "" {
		fact("note", w.r.Reason)
	}
	for _, a := range w.r.Attested {
		key := "attested.stands"
		if a.Objects {
			key = "attested.objects"
		}
		fact("attested", strings.TrimSuffix(t.say(key, a.By, orDash(a.For), w.at(a.At), a.Text), ": "))
	}
	if !m.Tabletop {
		fact("rto."+string(m.RTO.From), w.took(m.RTO.Took))
	}
	if m.RTO.Target > 0 && !m.Tabletop {
		fact("target", t.took(m.RTO.Target))
		verdict := "unknown"
		if m.RTO.Met != nil && *m.RTO.Met {
			verdict = "met"
		} else if m.RTO.Met != nil {
			verdict = "missed"
		}
		fact("verdict", t.say(verdict))
	}
	if rpo := m.RPO; rpo != nil {
		fact("lost", t.say("lost.is", w.figure(rpo.Transactions), w.figure(rpo.Accounts), w.known(rpo.Amount)))
		fact("lost.time", w.took(rpo.Time))
		switch {
		case rpo.Bound == 0:
			fact("rpo.bound", t.say("rpo.none"))
		case rpo.Bound > 0:
			fact("rpo.bound", t.say("rpo.less", t.span(rpo.Bound)))
		}
		verdict := "unknown"
		if rpo.Met != nil && *rpo.Met {
			verdict = "met"
		} else if rpo.Met != nil {
			verdict = "missed"
		}
		fact("rpo.verdict", t.say(verdict))
		for _, s := range rpo.Sources {
			fact("lost.source", s.Unit+": "+w.known(s.Says))
		}
	}
	fact("counts", t.say("of", w.r.Settled(), len(m.Steps)))
	fact("zone", w.zone.String())
	return s
}

// figure writes a number that may not be known.
func (w *writer) figure(n *int64) string {
	if n == nil {
		return w.t.say("unknown")
	}
	return strconv.FormatInt(*n, 10)
}

func (w *writer) known(text string) string {
	if text == "" {
		return w.t.say("unknown")
	}
	return text
}

func (w *writer) parameters() Section {
	s := Section{Title: w.t.say("parameters")}
	for _, p := range w.src.Program.Parameters {
		name := p.Name
		if p.Doc != "" {
			name += " – " + p.Doc
		}
		s.Facts = append(s.Facts, [2]string{name, w.value(w.r.Params[p.Name])})
	}
	return s
}

func (w *writer) clocks() Section {
	c := w.m.Clocks
	s := Section{Title: w.t.say("clocks"), Head: w.heads("clock", "took", "fromTo")}
	for _, one := range []struct {
		key  string
		took *time.Duration
	}{{"detect", c.Detect}, {"declare", c.Declare}, {"decide", c.Decide}, {"execute", c.Execute}, {"verify", c.Verify}} {
		s.Rows = append(s.Rows, []string{w.t.say(one.key), w.took(one.took), w.t.say(one.key + ".is")})
	}
	return s
}

func (w *writer) steps() Section {
	s := Section{Title: w.t.say("steps"), Head: w.heads("no", "step", "kind", "who", "begin", "end", "took", "waitedPeople", "waitedLocks", "worked", "outcome", "attempts", "error")}
	for i := range w.m.Steps {
		step := &w.m.Steps[i]
		row := []string{strconv.Itoa(i + 1), w.named(i), w.t.word("kind", string(step.Kind)), w.who(i), w.at(step.Begin), w.at(step.End), "–", "–", "–", "–", w.t.word("status", string(step.Status)), strconv.Itoa(step.Attempts), w.r.Steps[i].Error}
		if !step.End.IsZero() {
			row[6], row[7], row[8], row[9] = w.t.took(step.End.Sub(step.Ready)), w.t.took(step.People), w.t.took(step.Locks), w.t.took(step.Worked)
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

// named is a step with its title.
func (w *writer) named(i int) string {
	n := &w.src.Program.Nodes[i]
	if n.Step.Title == "" {
		return n.ID
	}
	return n.ID + " – " + n.Step.Title
}

// who is by whom a step is done, or what is done to what.
func (w *writer) who(i int) string {
	s, state := &w.src.Program.Nodes[i].Step, &w.r.Steps[i]
	switch {
	case s.Manual != nil:
		return s.Manual.Owner
	case s.Approval != nil:
		return w.t.say("of.need", s.Approval.Need, strings.Join(s.Approval.Of, ", "))
	case s.Notify != nil:
		return strings.Join(s.Notify.To, ", ")
	case s.Subplan != nil:
		return s.Subplan.Plan
	case s.Wait != nil && s.Wait.Until != "":
		return s.Wait.Until
	case s.Wait != nil:
		return w.t.took(time.Duration(s.Wait.For))
	}
	call := s.Act
	if call == nil {
		call = s.Check
	}
	if state.Call != nil { // as it was filled in
		call = state.Call
	}
	return w.call(call)
}

// people is what people said, in order.
func (w *writer) people() Section {
	s := Section{Title: w.t.say("people"), Head: w.heads("at", "person", "what", "step", "behalf", "asked", "said")}
	for _, e := range w.src.Journal {
		switch e.What {
		case run.Started, run.Paused, run.Resumed, run.Retried, run.Skipped, run.TakenOver, run.Cancelled, run.Acknowledged, run.Approved, run.Declined, run.Completed,
			run.Delegated, run.AddedApprover, run.BrokeGlass, run.Reviewed, run.Attested:
		case run.Took, run.Entered, run.Passed, run.Began, run.Ended, run.Opened, run.Finished:
			if len(e.Attachments) == 0 { // else people were shown something
				continue
			}
		}
		what := w.t.word("said", string(e.What))
		if e.Undo {
			what = w.t.say("said.undo", what)
		}
		asked := ""
		if state, ok := w.r.Step(e.Node); ok && (e.What == run.Approved || e.What == run.Declined || e.What == run.Completed || e.What == run.BrokeGlass) {
			asked = state.Text
		}
		said := []string{}
		if e.To != "" {
			said = append(said, w.t.say("said.to", e.To))
		}
		if e.Text != "" {
			said = append(said, e.Text)
		}
		if e.Signed != nil {
			said = append(said, w.t.say("said.signed", e.Signed.Carrier))
		}
		for _, name := range sorted(e.Result) {
			said = append(said, name+": "+w.value(e.Result[name]))
		}
		for _, a := range e.Attachments {
			said = append(said, w.t.say("said.attached", a.Name, a.Type, a.Size, a.SHA256))
		}
		s.Rows = append(s.Rows, []string{w.at(e.At), e.By, what, e.Node, e.For, asked, strings.Join(said, "\n")})
	}
	return s
}

// deviations is what did not go as planned.
func (w *writer) deviations() Section {
	s := Section{Title: w.t.say("deviations"), Head: w.heads("at", "step", "what")}
	add := func(at time.Time, node, key string, args ...any) {
		s.Rows = append(s.Rows, []string{w.at(at), node, w.t.say(key, args...)})
	}
	for _, b := range w.src.Program.Breaches(plan.BuiltIn()) {
		add(time.Time{}, b.Step, "dev.contract", w.t.recorded(b.Reason))
	}
	took := 0
	for _, e := range w.src.Journal {
		switch e.What {
		case run.Took:
			if took++; took > 1 {
				add(e.At, "", "dev.took", strings.TrimPrefix(e.By, "node:"))
			}
		case run.Ended:
			w.ended(e, add)
		case run.Skipped, run.TakenOver, run.Retried, run.Paused, run.Resumed, run.Declined:
			key := "dev." + string(e.What)
			if e.Undo {
				key = "dev.undo" + strings.ToUpper(string(e.What[:1])) + string(e.What[1:])
			}
			add(e.At, e.Node, key, e.By, orDash(e.Text))
		case run.Cancelled:
			key := "dev.cancelled"
			if e.Undo {
				key = "dev.cancelledUndo"
			}
			add(e.At, "", key, e.By, orDash(e.Text))
		case run.BrokeGlass:
			add(e.At, e.Node, "dev.brokeGlass", e.By, orDash(e.Text))
		case run.Started:
			for _, note := range e.Notes {
				add(e.At, "", "dev.note", w.t.recorded(note))
			}
		case run.Entered, run.Passed, run.Began, run.Opened, run.Finished, run.Acknowledged, run.Approved, run.Completed, run.Delegated, run.AddedApprover, run.Reviewed, run.Attested:
		}
	}
	if met := w.m.RTO.Met; met != nil && !*met {
		add(w.m.End, "", "dev.rto", w.took(w.m.RTO.Took), w.t.took(w.m.RTO.Target))
	}
	return s
}

// ended tells of an attempt that did not succeed.
func (w *writer) ended(e run.Entry, add func(at time.Time, node, key string, args ...any)) {
	why := orDash(e.Error)
	switch {
	case e.Outcome == run.Unknown:
		add(e.At, e.Node, "dev.unknown", e.Attempt, why)
	case e.Outcome == run.Nothing:
		add(e.At, e.Node, "dev.noEffect", e.Attempt, why)
	case e.Outcome != run.Failed:
	case e.Undo:
		add(e.At, e.Node, "dev.undoFailed", e.Attempt, why)
	case e.Attempt == 0:
		add(e.At, e.Node, "dev.expression", why)
	default:
		add(e.At, e.Node, "dev.failed", e.Attempt, why)
	}
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

func (w *writer) path() Section {
	s := Section{Title: w.t.say("path"), Head: w.heads("no", "step", "from", "until", "took", "note")}
	for i, l := range w.m.Path {
		note := ""
		if l.Lock {
			note = w.t.say("lock.after")
		}
		s.Rows = append(s.Rows, []string{strconv.Itoa(i + 1), l.Step, w.at(l.From), w.at(l.To), w.t.took(l.To.Sub(l.From)), note})
	}
	return s
}

func (w *writer) undoing() Section {
	s := Section{Title: w.t.say("undoing"), Head: w.heads("step", "who", "outcome", "attempts", "waitedPeople", "worked", "error")}
	for i := range w.m.Steps {
		u, state := w.m.Steps[i].Undo, &w.r.Steps[i].Undo
		if u == nil {
			continue
		}
		s.Rows = append(s.Rows, []string{w.named(i), w.call(state.Call), w.t.word("status", string(u.Status)), strconv.Itoa(u.Attempts), w.t.took(u.People), w.t.took(u.Worked), state.Error})
	}
	return s
}

// evidence is where to find the proof of all this.
func (w *writer) evidence() (Section, error) {
	s := Section{Title: w.t.say("evidence")}
	journal, err := sum(w.src.Journal)
	if err != nil {
		return s, err
	}
	s.Facts = [][2]string{{w.t.say("ev.entries"), fmt.Sprintf("1–%d", len(w.src.Journal))}, {w.t.say("ev.journal"), journal}}
	if w.src.ProgramSum != "" {
		s.Facts = append(s.Facts, [2]string{w.t.say("ev.program"), w.src.ProgramSum})
	}
	if l := w.src.Orders; l != nil && l.Seq > 0 {
		s.Facts = append(s.Facts, [2]string{w.t.say("ev.orders"), fmt.Sprintf("1–%d (%s)", l.Seq, w.at(l.Last))})
	}
	if len(w.src.Leaves) > 0 {
		s.Facts = append(s.Facts, [2]string{w.t.say("ev.origin"), w.src.Origin}, [2]string{w.t.say("ev.leaves"), ranges(w.src.Leaves)})
	}
	return s, nil
}

// sum is the SHA-256 of a journal as one JSON array, in hex.
func sum(journal []run.Entry) (string, error) {
	data, err := json.Marshal(journal)
	if err != nil {
		return "", errs.New(errs.Internal, "cannot encode a journal: %w", err)
	}
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:]), nil
}

// ranges writes ascending numbers as 3–7, 9.
func ranges(numbers []int64) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := strconv.FormatInt(numbers[i], 10)
		if j > i {
			part += "–" + strconv.FormatInt(numbers[j], 10)
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ", ")
}
