package document

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/evaluation"
	"perdure/internal/measure"
	"perdure/internal/plan"
)

// PlanSource is what the documents of a plan are made of.
type PlanSource struct {
	Estate
	// Plan is the name of a plan of the set, or of one of the product's own; Mode is one of its modes, empty: the first that recovers.
	Plan string
	Mode plan.Mode
	// History is how long steps took in earlier runs; nil: nobody knows.
	History *measure.History
}

// drawnFrom is the seed of simulations: the same history gives the same forecast.
const drawnFrom = 1

// recovers reports whether plans are written for the mode to recover service, or to practise that: those that documents of plans are for.
func recovers(m plan.Mode) bool {
	switch m {
	case plan.Drill, plan.Takeover, plan.Emergency, plan.SwitchBack:
		return true
	case plan.Failover, plan.Move, plan.Experiment, plan.Verification, plan.Inspection, plan.Change:
	}
	return false
}

// RecoveryPlan is the recovery plan 灾难恢复计划 as a document, with what it needs and nobody said. Errors: not-found where there is no such
// plan, invalid where it is not for the mode, or the mode recovers nothing.
func RecoveryPlan(src PlanSource, l Language) (*Document, []Finding, error) {
	w, err := newPlanWriter(src, l)
	if err != nil {
		return nil, nil, err
	}
	return w.document("title.drp", []Section{
		w.about("purpose"), w.contract(), w.order(), w.objects(), w.parameters(), w.steps(), w.duties(), w.roles(), w.partners(), w.times(), w.start(),
		w.windows(), w.back(), w.fingerprint(),
	})
}

// DrillPlan is what is handed round before a plan is practised 演练方案. Errors: as those of RecoveryPlan.
func DrillPlan(src PlanSource, l Language) (*Document, []Finding, error) {
	w, err := newPlanWriter(src, l)
	if err != nil {
		return nil, nil, err
	}
	return w.document("title.drillPlan", []Section{
		w.about("aim"), w.contract(), w.order(), w.objects(), w.schedules(), w.windows(), w.times(), w.roles(), w.partners(), w.parameters(), w.steps(),
		w.duties(), w.judgedBy(), w.risks(), w.start(), w.back(), w.fingerprint(),
	})
}

type planWriter struct {
	drafter
	plan    *plan.Plan
	program *plan.Program
	row     plan.Contract
	ahead   *measure.Preflight
	// nodes are the steps that are done in the mode, and of gives for each node of the program the system that it is about.
	nodes []int
	of    []estate.SystemID
	// wave is that of each system: it goes behind all of the waves in front.
	wave    map[estate.SystemID]int
	inOrder []estate.SystemID // the systems, by wave
	moved   []estate.UnitID
	// home are the plans that lead back.
	home []candidate
}

func newPlanWriter(src PlanSource, l Language) (*planWriter, error) {
	plans := slices.Concat(src.Set.Plans, plan.BuiltInPlans())
	if i := slices.IndexFunc(plans, func(p plan.Plan) bool { return p.Name == src.Plan }); i >= 0 && src.Mode == "" {
		src.Mode = plans[i].Modes[max(slices.IndexFunc(plans[i].Modes, recovers), 0)]
	}
	if src.Mode != "" && !recovers(src.Mode) {
		return nil, errs.New(errs.Invalid, "mode %q recovers nothing: documents of plans are for modes %s, %s, %s and %s", src.Mode, plan.Drill, plan.Takeover, plan.Emergency, plan.SwitchBack)
	}
	program, err := plan.Compile(plans, plan.BuiltIn(), src.Plan, src.Mode)
	if err != nil {
		return nil, err
	}
	w := &planWriter{drafter: newDrafter(src.Estate, l), program: program, row: plan.ContractOf(src.Mode), wave: map[estate.SystemID]int{}}
	w.plan = &plans[slices.IndexFunc(plans, func(p plan.Plan) bool { return p.Name == src.Plan })]
	history := src.History
	if history == nil {
		history = measure.NewHistory()
	}
	if w.ahead, err = measure.Before(program, nil, plan.BuiltIn(), history, drawnFrom); err != nil {
		return nil, err
	}
	w.arrange()
	if w.home, err = w.plansFor(plan.SwitchBack, w.inOrder, w.moved); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *planWriter) document(title string, sections []Section) (*Document, []Finding, error) {
	d := &Document{Language: w.l, Title: w.t.say(title), Made: w.made()}
	d.Subtitle = w.t.say("subtitle.plan", w.clean(titled(w.plan.Name, w.plan.Title)), w.t.word("mode", string(w.program.Mode)))
	w.fill(d, sections)
	return d, w.findings, nil
}

// arrange finds out which step is about which system, and in which order systems come: a system is one wave behind those of which something is
// done before anything is done of it.
func (w *planWriter) arrange() {
	p := w.program
	w.of = make([]estate.SystemID, len(p.Nodes))
	behind := make([]int, len(p.Nodes)) // the highest wave among what a step waits for, and its own
	for i := range p.Nodes {
		n := &p.Nodes[i]
		w.of[i] = w.systemOf(i)
		if n.Parent >= 0 {
			behind[i] = behind[n.Parent]
		}
		for _, d := range n.After {
			behind[i] = max(behind[i], behind[d.Node])
		}
		id := w.of[i]
		if !p.Includes(i) {
			continue
		}
		w.nodes = append(w.nodes, i)
		if id != "" && w.wave[id] == 0 && !n.Step.Cleanup && (n.Step.Act != nil || n.Step.Manual != nil && n.Step.System != "") {
			w.wave[id] = behind[i] + 1
		}
		if n.Step.Act != nil || n.Step.Manual != nil {
			behind[i] = max(behind[i], w.wave[id])
		}
		// What comes after a subplan stands behind all of its steps.
		for parent := n.Parent; parent >= 0 && behind[parent] < behind[i]; parent = p.Nodes[parent].Parent {
			behind[parent] = behind[i]
		}
	}
	systems, units := w.reach(p)
	for _, id := range systems {
		if w.wave[id] == 0 {
			w.wave[id] = 1
		}
	}
	for id := range w.wave {
		if id != "" && !slices.Contains(systems, id) {
			systems = append(systems, id)
		}
	}
	w.inOrder, w.moved = w.ordered(systems), units
	slices.SortStableFunc(w.inOrder, func(a, b estate.SystemID) int { return w.wave[a] - w.wave[b] })
}

// systemOf is the system that a step is about, "" where nothing says it.
func (w *planWriter) systemOf(i int) estate.SystemID {
	n := &w.program.Nodes[i]
	if n.Step.System != "" {
		return n.Step.System
	}
	if call := callOf(&n.Step); call != nil && call.Driver == "unit" {
		if at, ok := w.placeOf(call.Target); ok {
			return at.system.Name
		}
	}
	if n.Parent < 0 {
		return w.program.System
	}
	sub := w.program.Nodes[n.Parent].Step.Subplan.Plan
	for _, p := range w.Set.Plans {
		if p.Name == sub && p.System != "" {
			return p.System
		}
	}
	return w.of[n.Parent]
}

func (w *planWriter) placeOf(name string) (place, bool) {
	at, ok := w.units[estate.UnitID(name)]
	return at, ok
}

func callOf(s *plan.Step) *plan.Call {
	if s.Act != nil {
		return s.Act
	}
	return s.Check
}

// about says what the plan is for.
func (w *planWriter) about(why string) Section {
	t := w.t
	s := Section{Title: t.say("summary")}
	fact := func(key, value string) { s.Facts = append(s.Facts, [2]string{t.say(key), value}) }
	fact("plan", titled(w.plan.Name, w.plan.Title))
	fact("mode", t.word("mode", string(w.program.Mode)))
	fact(why, t.say(why+"."+string(w.program.Mode)))
	var systems, stages []string
	for _, id := range w.inOrder {
		systems = append(systems, w.systemName(id))
		stage := t.word("stage", string(w.Set.StageOf(w.systems[id])))
		if !slices.Contains(stages, stage) {
			stages = append(stages, stage)
		}
	}
	if len(systems) > 0 {
		fact("systems", w.some(systems))
		fact("stages", strings.Join(stages, t.say("list.and")))
	} else {
		w.miss(Unsaid, w.plan.Name, "miss.systems", w.plan.Name)
	}
	if w.program.RTO > 0 {
		fact("target", t.span(w.program.RTO))
	}
	fact("stepCount", strconv.Itoa(len(w.nodes)))
	return s
}

// contract is the row of the mode.
func (w *planWriter) contract() Section {
	t, row := w.t, w.row
	mode := string(row.Mode)
	s := Section{Title: t.say("contract")}
	fact := func(key, value string) { s.Facts = append(s.Facts, [2]string{t.say(key), value}) }
	yes := func(v bool) string {
		if v {
			return t.say("yes")
		}
		return t.say("false")
	}
	fact("interrupted", t.say("interruption."+string(row.Interruption)))
	fact("trigger", t.say("trigger."+string(row.Trigger)))
	fact("who.part", t.say("part."+mode))
	fact("announcement", t.say("announce."+yesNo(row.Announcement)))
	fact("image", t.say("image."+string(row.Image)))
	rpo := t.say("rpo.none")
	if row.RPO > 0 {
		rpo = t.say("rpo.less", t.span(row.RPO))
	}
	fact("rpo.bound", rpo)
	fact("interfaces", t.say("interfaces."+string(row.Interfaces)))
	var walls []string
	for _, f := range row.Firewall {
		walls = append(walls, t.say("firewall."+string(f)))
	}
	fact("firewall", strings.Join(walls, t.say("list.and")))
	fact("data", t.say("data."+row.Data))
	fact("recovery", t.say("recovery."+mode))
	fact("writeBack", yes(row.WriteBack))
	fact("replication", t.say("replication."+mode))
	return s
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// order are the systems, in waves.
func (w *planWriter) order() Section {
	s := Section{Title: w.t.say("systems"), Head: append(w.heads("wave", "system"), w.systemHead()...)}
	for _, id := range w.inOrder {
		s.Rows = append(s.Rows, append([]string{strconv.Itoa(w.wave[id]), w.systemName(id)}, w.systemCells(w.systems[id])...))
	}
	return s
}

// objects are what is brought into use elsewhere.
func (w *planWriter) objects() Section {
	s := Section{Title: w.t.say("objects"), Head: w.heads("wave", "step", "object", "system", "image", "home", "goesTo", "copy")}
	for _, i := range w.nodes {
		step := &w.program.Nodes[i].Step
		if step.Act == nil {
			continue
		}
		a := plan.BuiltIn().Find(step.Act.Driver, step.Act.Action)
		if a == nil || a.Touches.Image == "" {
			continue
		}
		id, to := w.of[i], "–"
		if v, ok := step.Act.With["to"]; ok {
			to = w.value(v)
		}
		row := []string{wavesOf(w.wave[id]), w.program.Nodes[i].ID, strings.TrimSpace(step.Act.Driver + " " + step.Act.Target), orDash(string(id)), w.t.say("image." + string(a.Touches.Image)), "–", to, "–"}
		if at, ok := w.placeOf(step.Act.Target); ok && at.group != nil {
			row[2] = w.t.say("unitsOf", joined(at.system.UnitsOf(at.group.Name)), string(at.group.Name))
			row[5] = w.siteName(at.group.Home())
			if m := copyAt(at.group, estate.SiteID(to)); m != nil {
				row[6], row[7] = w.siteName(m.Site), w.t.say("copy."+string(m.Role))
			}
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

func wavesOf(n int) string {
	if n == 0 {
		return "–"
	}
	return strconv.Itoa(n)
}

func (w *planWriter) parameters() Section {
	s := Section{Title: w.t.say("parameters"), Head: w.heads("parameter", "means", "type", "given")}
	for i := range w.plan.Parameters {
		p := &w.plan.Parameters[i]
		given := w.t.say("required")
		switch {
		case p.Required:
		case p.Default == nil:
			given = w.t.say("optional")
		default:
			given = w.t.say("otherwise", w.value(p.Default))
		}
		s.Rows = append(s.Rows, []string{p.Name, orDash(p.Doc), w.typed(p), given})
	}
	return s
}

func (w *planWriter) typed(p *plan.Parameter) string {
	text := w.t.word("type", string(p.Type))
	if len(p.Of) > 0 {
		text += ": " + strings.Join(p.Of, ", ")
	}
	return text
}

// steps is everything that is done, in the order of the program.
func (w *planWriter) steps() Section {
	s := Section{Title: w.t.say("steps"), Head: w.heads("no", "step", "kind", "who", "whatDone", "waitsFor", "atMost", "onFailure", "undo", "besides")}
	declined := map[int][]string{} // of approvals: what is done where they are declined
	for _, i := range w.nodes {
		for _, d := range w.program.Nodes[i].After {
			if d.Port == "declined" {
				declined[d.Node] = append(declined[d.Node], w.program.Nodes[i].ID)
			}
		}
	}
	for n, i := range w.nodes {
		node := &w.program.Nodes[i]
		s.Rows = append(s.Rows, []string{
			strconv.Itoa(n + 1), titled(node.ID, node.Step.Title), w.t.word("kind", string(node.Step.Kind())), w.by(&node.Step), w.done(&node.Step), w.after(node),
			w.bound(i), w.failure(node, declined[i]), w.undo(&node.Step), w.besides(node),
		})
	}
	return s
}

// by is who does a step.
func (w *planWriter) by(s *plan.Step) string {
	switch {
	case s.Manual != nil:
		return s.Manual.Owner
	case s.Approval != nil:
		return w.t.say("of.need", s.Approval.Need, strings.Join(s.Approval.Of, ", "))
	case s.Notify != nil:
		return strings.Join(s.Notify.To, ", ")
	case s.Wait != nil, s.Subplan != nil:
		return w.t.say("platform")
	}
	return w.t.say("byDriver", callOf(s).Driver)
}

// done is what is done in a step.
func (w *planWriter) done(s *plan.Step) string {
	switch {
	case s.Manual != nil:
		return s.Manual.Instruction
	case s.Approval != nil:
		return orDash(s.Approval.Text)
	case s.Notify != nil:
		return s.Notify.Text
	case s.Subplan != nil:
		return w.t.say("subplan", s.Subplan.Plan)
	case s.Wait != nil && s.Wait.Until != "":
		return w.t.say("waitUntil", s.Wait.Until)
	case s.Wait != nil:
		return w.t.say("waitFor", w.t.span(time.Duration(s.Wait.For)))
	}
	call := callOf(s)
	text := w.call(call)
	if call.Expect != "" {
		text += "\n" + w.t.say("expects", call.Expect)
	}
	return text
}

func (w *planWriter) after(n *plan.Node) string {
	var out []string
	for _, d := range n.After {
		id := w.program.Nodes[d.Node].ID
		switch d.Port {
		case "declined":
			id = w.t.say("after.declined", id)
		case "failed":
			id = w.t.say("after.failed", id)
		}
		out = append(out, id)
	}
	return orDash(strings.Join(out, "\n"))
}

func (w *planWriter) bound(i int) string {
	n := &w.program.Nodes[i]
	if n.Step.Subplan != nil {
		return w.t.say("itsSteps")
	}
	bound := w.program.Bound(i)
	if bound == 0 && (n.Step.Manual != nil || n.Step.Approval != nil) {
		return w.t.say("noLimit")
	}
	return w.t.span(bound)
}

func (w *planWriter) failure(n *plan.Node, declined []string) string {
	if n.Step.Approval != nil {
		if len(declined) > 0 {
			return w.t.say("declined.branch", strings.Join(declined, ", "))
		}
		return w.t.say("declined.ends")
	}
	means := n.Step.OnFailure
	if means == "" {
		means = plan.Stop
	}
	return w.t.say("failure." + string(means))
}

func (w *planWriter) undo(s *plan.Step) string {
	if s.Undo == nil {
		return "–"
	}
	return w.call(s.Undo)
}

// besides is what else has to be known of a step.
func (w *planWriter) besides(n *plan.Node) string {
	s := &n.Step
	var out []string
	say := func(key string, args ...any) { out = append(out, w.t.say(key, args...)) }
	if s.When != "" {
		say("besides.when", s.When)
	}
	if s.Retry != nil {
		say("besides.retry", s.Retry.Times, w.t.span(time.Duration(s.Retry.Pause)))
	}
	if s.Precheck != nil {
		text := w.call(s.Precheck)
		if s.Precheck.Expect != "" {
			text += " (" + s.Precheck.Expect + ")"
		}
		say("besides.precheck", text)
	}
	if len(s.Locks) > 0 {
		say("besides.locks", strings.Join(s.Locks, ", "))
	}
	if s.Cleanup {
		say("besides.cleanup")
	}
	return orDash(strings.Join(out, "\n"))
}

// duties are what is asked of people.
func (w *planWriter) duties() Section {
	s := Section{Title: w.t.say("duties"), Head: w.heads("step", "kind", "whose", "howMany", "people", "fillIn", "limit")}
	for _, i := range w.nodes {
		n := &w.program.Nodes[i]
		switch {
		case n.Step.Manual != nil:
			m := n.Step.Manual
			var fields []string
			for j := range m.Fields {
				f := &m.Fields[j]
				text := titled(f.Name, f.Doc) + w.t.say("inBrackets", w.typed(f))
				if f.Required {
					text = w.t.say("must", text)
				}
				fields = append(fields, text)
			}
			s.Rows = append(s.Rows, []string{titled(n.ID, n.Step.Title), w.t.word("kind", string(plan.ManualStep)), w.role(m.Owner), "1", w.people(m.Owner), orDash(strings.Join(fields, "\n")), w.limit(n.Step.Timeout)})
		case n.Step.Approval != nil:
			a := n.Step.Approval
			var whose, people []string
			for _, name := range a.Of {
				whose = append(whose, w.role(name))
				people = append(people, w.people(name))
			}
			many := strconv.Itoa(a.Need)
			if a.Need > 1 || a.Order == plan.Serial {
				many = w.t.say("order."+string(a.Order), a.Need)
			}
			s.Rows = append(s.Rows, []string{titled(n.ID, n.Step.Title), w.t.word("kind", string(plan.ApprovalStep)), strings.Join(whose, "\n"), many, strings.Join(people, "\n"), w.t.say("yesOrNo"), w.limit(n.Step.Timeout)})
		}
	}
	return s
}

// asked gives for each name that steps ask or tell the IDs of those steps, and the names in the order in which they come.
func (w *planWriter) asked() (names []string, steps map[string][]string) {
	steps = map[string][]string{}
	for _, i := range w.nodes {
		n := &w.program.Nodes[i]
		var of []string
		switch {
		case n.Step.Manual != nil:
			of = []string{n.Step.Manual.Owner}
		case n.Step.Approval != nil:
			of = n.Step.Approval.Of
		case n.Step.Notify != nil:
			of = n.Step.Notify.To
		}
		for _, name := range of {
			if steps[name] == nil {
				names = append(names, name)
			}
			steps[name] = append(steps[name], n.ID)
		}
	}
	return names, steps
}

func (w *planWriter) named(steps []string) string { return w.upTo(steps, ", ") }

// roles are who is asked that is no participant, and who starts the run.
func (w *planWriter) roles() Section {
	s := Section{Title: w.t.say("roles"), Head: w.heads("role", "people", "askedIn")}
	names, steps := w.asked()
	starter := w.starter()
	if !slices.Contains(names, starter) {
		names = append([]string{starter}, names...)
	}
	for _, name := range names {
		if w.participant(name) != nil {
			continue
		}
		what := w.named(steps[name])
		if name == starter {
			what = strings.TrimSuffix(w.t.say("starts", what), ", ")
		}
		s.Rows = append(s.Rows, []string{w.role(name), w.people(name), what})
	}
	if w.Holders == nil {
		for i, row := range s.Rows {
			s.Rows[i] = []string{row[0], row[2]}
		}
		s.Head = w.heads("role", "askedIn")
	}
	return s
}

// starter is the least role that may start a run of the mode.
func (w *planWriter) starter() string {
	switch {
	case w.program.Mode == plan.Emergency:
		return "commander"
	case w.program.Mode.Real():
		return "operator"
	}
	return "driller"
}

func (w *planWriter) partners() Section {
	_, steps := w.asked()
	list := w.takingPart(w.inOrder, func(name string) bool { return steps[name] != nil })
	return w.contacts(list, "askedIn", func(name string) string { return orDash(w.named(steps[name])) })
}

// times are how long it takes, as far as that can be said.
func (w *planWriter) times() Section {
	t, f := w.t, &w.ahead.Forecast
	s := Section{Title: t.say("times")}
	fact := func(key, value string) { s.Facts = append(s.Facts, [2]string{t.say(key), value}) }
	fact("worst", t.span(f.Worst))
	if len(f.Path) > 0 {
		fact("path", strings.Join(f.Path, " → "))
	}
	if len(f.Endless) > 0 {
		fact("endless", strings.Join(f.Endless, ", "))
	}
	if f.P50 != nil && f.P95 != nil {
		fact("p50", t.span(*f.P50))
		fact("p95", t.span(*f.P95))
		fact("runs", strconv.Itoa(f.Runs))
		if len(f.Unseen) > 0 {
			fact("unseen", strings.Join(f.Unseen, ", "))
		}
	}
	if w.program.RTO > 0 {
		fact("target", t.span(w.program.RTO))
	}
	for _, one := range w.ahead.Findings {
		switch one.Kind {
		case measure.LateAtWorst, measure.LateMostly, measure.LateSometimes:
			text := t.say("late."+string(one.Kind), t.span(one.Took), t.span(w.program.RTO))
			fact("verdict", text)
			w.miss(Late, w.plan.Name, "late."+string(one.Kind), t.span(one.Took), t.span(w.program.RTO))
		case measure.BreaksRules:
			if one.Step == "" {
				w.miss(Breach, w.plan.Name, "miss.breach.plan", t.recorded(one.Text))
				continue
			}
			w.miss(Breach, one.Step, "miss.breach", one.Step, t.recorded(one.Text))
		case measure.LooksWrong: // nothing was looked at
		}
	}
	return s
}

// start is how a run is prepared, started and followed.
func (w *planWriter) start() Section {
	s := Section{Title: w.t.say("start.how"), Head: w.heads("no", "whatDone", "whose", "command")}
	mode := string(w.program.Mode)
	row := func(key, who, command string) {
		s.Rows = append(s.Rows, []string{strconv.Itoa(len(s.Rows) + 1), w.t.say(key), who, command})
	}
	row("do.preflight", w.role("viewer"), fmt.Sprintf("perdure plan preflight %s --mode %s%s", w.plan.Name, mode, setFlags(w.plan)))
	if !plan.IsBuiltIn(w.plan.Name) {
		row("do.tabletop", w.role("driller"), fmt.Sprintf("perdure run start %s --mode %s --tabletop%s --reason TEXT", w.plan.Name, mode, setFlags(w.plan)))
	}
	if w.program.Mode == plan.Emergency {
		row("do.incident", w.role("viewer"), "perdure incident list --open")
	}
	if w.row.Trigger == plan.InWindow {
		row("do.window", w.role("commander"), "perdure calendar approve WINDOW --reason TEXT")
	}
	row("do.start", w.role(w.starter()), startCommand(w.plan, w.program.Mode))
	row("do.watch", w.role("viewer"), "perdure run watch RUN")
	names, _ := w.asked()
	if len(names) > 0 {
		row("do.inbox", w.t.say("everybody"), "perdure inbox")
	}
	row("do.document", w.role("viewer"), "perdure run report RUN --out FILE")
	return s
}

// windows are when it may be started, for modes that need one.
func (w *planWriter) windows() Section {
	s := Section{Title: w.t.say("windows"), Head: w.heads("calendar", "window", "whenOpen", "zone")}
	if w.row.Trigger != plan.InWindow {
		return s
	}
	book, err := calendar.Open(w.Set.Calendars)
	if err != nil { // the manifest has refused such calendars
		return s
	}
	for _, o := range book.For(calendar.AskOf(w.program, defaults(w.program))) {
		s.Rows = append(s.Rows, []string{o.Calendar, titled(o.Name, o.Title), w.when(o.Span), w.zoneOf(o.Calendar)})
	}
	if len(s.Rows) == 0 {
		w.miss(NoWindow, w.plan.Name, "miss.window", w.plan.Name, w.t.word("mode", string(w.program.Mode)))
	}
	return s
}

// schedules are when it has to be practised.
func (w *planWriter) schedules() Section {
	s := Section{Title: w.t.say("schedules"), Head: w.heads("calendar", "schedule", "whenDue", "zone", "since", "parameters")}
	for _, c := range w.Set.Calendars {
		for _, one := range c.Schedules {
			if one.Plan != w.plan.Name || one.Mode != w.program.Mode {
				continue
			}
			s.Rows = append(s.Rows, []string{c.Name, one.Name, w.t.say("when.within", w.again(one.Cron), w.t.span(time.Duration(one.Within))), c.TimeZone, one.Since, orDash(w.value(one.Parameters))})
		}
	}
	if len(s.Rows) == 0 {
		w.miss(Unsaid, w.plan.Name, "miss.schedule", w.plan.Name, w.t.word("mode", string(w.program.Mode)))
	}
	return s
}

// judgedBy are the criteria of a run.
func (w *planWriter) judgedBy() Section {
	s := Section{Title: w.t.say("criteria"), Head: w.heads("no", "criterion", "seenBy")}
	for i, c := range evaluation.Criteria(w.program) {
		text, seen := w.criterion(c)
		s.Rows = append(s.Rows, []string{strconv.Itoa(i + 1), text, seen})
	}
	return s
}

// risks are what may go wrong, as far as the plan shows it.
func (w *planWriter) risks() Section {
	t := w.t
	s := Section{Title: t.say("risks"), Head: w.heads("risk", "where", "met.by")}
	row := func(risk, where, by string) { s.Rows = append(s.Rows, []string{risk, where, by}) }
	var stops, final, losses []string
	for _, i := range w.nodes {
		n := &w.program.Nodes[i]
		if n.Step.Act == nil {
			continue
		}
		if n.Step.OnFailure == "" || n.Step.OnFailure == plan.Stop {
			stops = append(stops, n.ID)
		}
		if n.Step.Undo == nil && !n.Step.Cleanup {
			final = append(final, n.ID)
		}
		if at, ok := w.placeOf(n.Step.Act.Target); ok && at.group != nil {
			if m := copyAt(at.group, estate.SiteID(w.value(n.Step.Act.With["to"]))); m != nil && lossy(m) {
				losses = append(losses, n.ID)
			}
		}
	}
	if w.row.Interruption != plan.NoInterruption {
		row(t.say("risk.interrupted"), t.say("risk.whole"), t.say("risk.interrupted.by"))
	}
	if len(losses) > 0 {
		row(t.say("risk.loss"), w.named(losses), t.say("risk.loss.by"))
	}
	if len(stops) > 0 {
		row(t.say("risk.stop"), w.named(stops), t.say("risk.stop.by"))
	}
	if len(final) > 0 {
		row(t.say("risk.final"), w.named(final), t.say("risk.final.by"))
	}
	if f := w.ahead.Forecast; len(f.Endless) > 0 {
		row(t.say("risk.endless"), w.named(f.Endless), t.say("risk.endless.by"))
	}
	for _, one := range w.ahead.Findings {
		if one.Took > 0 { // it is late
			row(t.say("late."+string(one.Kind), t.span(one.Took), t.span(w.program.RTO)), t.say("risk.whole"), t.say("risk.late.by"))
		}
	}
	return s
}

// back is how to return from what the plan does.
func (w *planWriter) back() Section {
	s := Section{Title: w.t.say("back"), Head: w.heads("whenBack", "whatDone", "command")}
	row := func(key, what, command string) { s.Rows = append(s.Rows, []string{w.t.say(key), what, command}) }
	var undone, cleaned []string
	for _, i := range slices.Backward(w.nodes) {
		n := &w.program.Nodes[i]
		if n.Step.Undo != nil {
			undone = append(undone, n.ID)
		}
		if n.Step.Cleanup {
			cleaned = append(cleaned, n.ID)
		}
	}
	if len(undone) > 0 {
		row("back.during", w.t.say("back.undo", w.named(undone)), "perdure run cancel RUN --undo --reason TEXT")
	} else {
		row("back.during", w.t.say("back.none"), "perdure run cancel RUN --reason TEXT")
	}
	if len(cleaned) > 0 {
		slices.Reverse(cleaned)
		row("back.end", w.t.say("back.cleanup", w.named(cleaned)), "–")
	}
	if w.program.Mode == plan.Drill || w.program.Mode == plan.SwitchBack {
		row("back.over", w.t.say("recovery."+string(w.program.Mode)), "–")
		return s
	}
	for _, c := range w.home {
		row("back.over", titled(c.plan.Name, c.plan.Title), startCommand(c.plan, plan.SwitchBack))
	}
	left := w.untouched(w.moved, w.home)
	if len(left) > 0 || len(w.moved) == 0 && len(w.home) == 0 {
		w.miss(NoPlan, joined(left), "miss.back", orDash(joined(left)))
	}
	return s
}

// fingerprint says which version of the plan the document belongs to.
func (w *planWriter) fingerprint() Section {
	s := Section{Title: w.t.say("version")}
	s.Facts = append(s.Facts, [2]string{w.t.say("ev.program"), programSum(w.program)})
	if parts := plan.Closure(w.Set.Plans, w.plan.Name); len(parts) > 1 {
		s.Facts = append(s.Facts, [2]string{w.t.say("parts"), strings.Join(parts[1:], ", ")})
	}
	s.Facts = append(s.Facts, w.version()...)
	s.Facts = append(s.Facts, [2]string{w.t.say("belongs"), w.t.say("belongs.is")})
	return s
}

// programSum is the SHA-256 of a program as the store keeps it, in hex.
func programSum(p *plan.Program) string {
	data, err := json.Marshal(p)
	if err != nil {
		panic("document: a program cannot be written: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
