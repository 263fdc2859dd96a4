package generate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/shape"
	"perdure/internal/unit"
)

// step is a step of the plan with the reason why it is there.
type step struct {
	plan.Step
	why string
}

// Who is asked and told by what they may do: package wire has the list.
const (
	operator  = "operator"
	commander = "commander"
)

const (
	// settleTime is how long a group may take until a copy of the new owner is in sync.
	settleTime = 5 * time.Minute
	// lossTime is how long two people have to look at an estimated loss and to accept it.
	lossTime = 30 * time.Minute
	// mostLocks and mostTold are what a step may have of them.
	mostLocks, mostTold = 16, 64
)

// writer writes the steps of one plan.
type writer struct {
	scope        *scope
	action       plan.Action // that makes units current elsewhere
	parts        []*part
	waves        []wave
	participants []*manifest.Participant

	taken map[string]bool // IDs of steps
	out   []step
}

// asked reports whether people are asked beforehand: where a window is applied for there is time for it, and an emergency waits for no paper.
func (w *writer) asked() bool { return w.scope.row.Trigger == plan.InWindow }

func (w *writer) everyStep() []step {
	if w.scope.o.Mode == plan.Drill {
		return w.drillSteps()
	}
	return w.switchSteps()
}

func (w *writer) switchSteps() []step {
	begin := []string{}
	if w.asked() {
		begin = w.before()
	} else {
		w.alarm()
	}
	last := w.everyWave(begin)
	if w.asked() {
		last = w.counted(last)
	}
	w.tell("over", w.say("Tell the result"), w.say("%s is over: %s", w.scope.o.title(), w.summary()), w.say("Who took part hears that it is over."), last)
	return w.out
}

// before looks, asks, and lets participants get ready; it gives what the first wave waits for.
func (w *writer) before() []string {
	looked := []string{} // an empty list waits for nothing; none at all waits for the step in front
	for _, p := range w.parts {
		for i := range p.moves {
			m := &p.moves[i]
			s := plan.Step{
				Title: w.say("Look how %s stands", m.group.Name), After: &[]string{},
				Check:   &plan.Call{Driver: w.action.Driver, Action: "state", Target: m.unit(), Expect: "result.accepting && result.inSync > 0.0 && !result.quarantined"},
				Outputs: map[string]string{"from": "result.site"},
			}
			looked = append(looked, w.add("before-"+string(m.group.Name), s,
				w.say("People are asked only about what can be done: %s accepts writes, has a copy in sync, and no account of it is in quarantine.", m.group.Name)))
			if w.scope.row.Mode == plan.SwitchBack {
				looked = append(looked, w.reconcile("orders-"+string(m.group.Name), m, []string{},
					w.say("Nobody is asked while an order that was held is open: who holds it enters it, or drops it with a reason, and this step is begun again.")))
			}
		}
	}
	row := w.scope.row
	text := w.say("%s: %s. The contract of the mode: production interrupted %s, %s interfaces, %s.", w.scope.o.title(), w.summary(), w.word("interruption", row.Interruption), w.word("interfaces", row.Interfaces), w.word("data", row.Data))
	agree := w.add("agree", plan.Step{Title: w.say("Approve it"), After: &looked, Approval: &plan.Approval{Of: []string{commander}, Need: 1, Order: plan.Parallel, Text: text}},
		w.say("Mode %s is approved beforehand, by somebody else than who starts it. An open window of the calendar is asked for at the start.", w.word("mode", row.Mode)))
	w.add("refused", plan.Step{Title: w.say("Tell that it was declined"), After: &[]string{agree + ".declined"}, Notify: &plan.Notify{To: []string{commander, operator}, Text: w.say("%s was declined; nothing was switched", w.scope.o.title())}},
		w.say("Declining ends the run here, and nobody waits for it in vain."))
	ready := []string{agree}
	if row.Mode == plan.SwitchBack {
		whole := []string{w.add("reconciled", plan.Step{
			Title: w.say("All held orders and orders of the DR side are handed in"), After: &[]string{agree},
			Manual: &plan.Manual{
				Owner:       w.headquarters(operator),
				Instruction: w.say("See that every order that was held, or was taken on paper at the site that took over, is handed in with the run of the takeover: perdure run orders import RUN FILE. Complete this when none is missing; what is open then keeps everything from going home."),
			},
		}, w.say("The contract: what was entered since the takeover is written back, so it is reconciled before production goes home. What nobody has handed in nobody can count."))}
		ready = nil
		for _, p := range w.parts {
			for i := range p.moves {
				m := &p.moves[i]
				ready = append(ready, w.reconcile("reconciled-"+string(m.group.Name), m, whole,
					w.say("The owner of %s has every order that was held, by its key and with its amount, or it was dropped with a reason. The switch itself refuses to go home before.", m.group.Name)))
			}
		}
		if len(ready) == 0 {
			ready = whole
		}
	}
	if len(w.participants) == 0 {
		return ready
	}
	var out []string
	for _, p := range w.participants {
		s := plan.Step{Title: w.say("%s is ready", p.Name), After: &ready, Manual: &plan.Manual{Owner: p.Name, Instruction: w.readiness(p)}}
		if orders(p) && row.Mode == plan.Takeover {
			s.Manual.Fields = []plan.Parameter{{Name: "held", Doc: w.say("Orders that are held 业务留单."), Type: plan.Number, Required: true}}
		}
		out = append(out, w.add("ready-"+p.Name, s, w.say("The contract: participants take part in mode %s, %s as %s.", w.word("mode", row.Mode), p.Name, p.Type)))
	}
	return out
}

// reconcile asks the owner of a group for every order that was held, and goes on when none is open.
func (w *writer) reconcile(id string, m *move, after []string, why string) string {
	return w.add(id, plan.Step{
		Title: w.say("No held order of %s is open", m.group.Name), After: &after,
		Act:      &plan.Call{Driver: "orders", Action: "reconcile", Target: m.unit()},
		Precheck: &plan.Call{Driver: "orders", Action: "state", Target: m.unit(), Expect: "result.open == 0.0"},
		Outputs:  map[string]string{"entered": "result.entered", "dropped": "result.dropped", "enteredAmount": "result.enteredAmount", "droppedAmount": "result.droppedAmount"},
	}, why)
}

// orders reports whether a participant takes orders of customers.
func orders(p *manifest.Participant) bool {
	return p.Type == estate.Headquarters || p.Type == estate.Branch
}

// readiness is what is asked of a participant before a switch.
func (w *writer) readiness(p *manifest.Participant) string {
	var what string
	switch p.Type {
	case estate.Headquarters, estate.Branch:
		what = w.say("Hold orders that cannot be repeated until you are told that it is over, and enter them afterwards.")
		if w.scope.row.Mode == plan.Takeover {
			what += w.say(" Hand in what you hold: perdure run orders import ${run.id} FILE.")
		}
	case estate.RelatedSystem:
		what = w.say("Stop batches to and from the systems that are switched, and see that your connections follow them to the other site.")
	case estate.ThirdParty:
		what = w.say("See that connections from and to the other site are open, and repeat requests that get no answer, with their keys.")
	}
	return what + w.reached(p)
}

// reached says who answers at a participant: the first three that are declared.
func (w *writer) reached(p *manifest.Participant) string {
	var ways []string
	for _, c := range p.Contacts[:min(len(p.Contacts), 3)] {
		ways = append(ways, strings.Join(slices.DeleteFunc([]string{plainly(c.Name), c.Phone, c.Mail}, func(s string) bool { return s == "" }), " "))
	}
	if len(ways) == 0 {
		return ""
	}
	return w.say(" Reached at: %s.", strings.Join(ways, "; "))
}

// plainly is a text in which nothing is an expression.
func plainly(text string) string { return strings.ReplaceAll(text, "${", "$ {") }

// headquarters is the first of them that takes part, or else somebody.
func (w *writer) headquarters(otherwise string) string {
	for _, p := range w.participants {
		if p.Type == estate.Headquarters {
			return p.Name
		}
	}
	return otherwise
}

// alarm is told and begun beside the switch; nothing waits for it.
func (w *writer) alarm() {
	w.tell("alarm", w.say("Tell that it has begun"), w.say("%s has begun: %s", w.scope.o.title(), w.summary()), w.say("Everybody hears of it at once. Nothing waits for this: an emergency waits for no paper."), []string{})
	if !w.scope.row.Announcement {
		return
	}
	w.add("announce", plan.Step{
		Title: w.say("Announce the interruption to the public"), After: &[]string{}, OnFailure: plan.Continue,
		Manual: &plan.Manual{
			Owner:       w.headquarters(commander),
			Instruction: w.say("Announce the interruption to the public and report it to the authorities, within the times that the emergency response plan has for it. Write down when it was done."),
			Announces:   true,
			Fields:      []plan.Parameter{{Name: "announced", Doc: w.say("When, and where."), Type: plan.Text, Required: true}},
		},
	}, w.say("The contract of an emergency requires an announcement. It is a task beside the switch, never a gate."))
}

// ends are the last steps of the systems of a plan.
type ends struct {
	switched map[estate.SystemID][]string // by drivers
	done     map[estate.SystemID][]string // all that somebody who depends on it waits for
	later    []string                     // what nobody depends on
}

// everyWave writes the switches and gives what comes last.
func (w *writer) everyWave(begin []string) []string {
	needs := needsOf(w.scope.set, w.parts)
	e := ends{switched: map[estate.SystemID][]string{}, done: map[estate.SystemID][]string{}}
	var all []string
	for n, v := range w.waves {
		var gate []string
		for _, p := range v.parts {
			after := slices.Clone(begin)
			if !w.asked() { // the gate is for what drivers do; what people do is waited for only where a system cannot work without it
				for _, id := range needs[p.system.Name] {
					for _, s := range e.done[id] {
						if !slices.Contains(after, s) {
							after = append(after, s)
						}
					}
				}
			}
			w.system(&e, p, n, after)
			all = append(all, e.done[p.system.Name]...)
			if w.asked() {
				gate = append(gate, e.done[p.system.Name]...)
			} else {
				gate = append(gate, e.switched[p.system.Name]...)
			}
		}
		if n == len(w.waves)-1 || len(gate) == 0 {
			continue
		}
		begin = []string{w.add(fmt.Sprintf("wave-%d", n+1), plan.Step{
			Title: w.say("Wave %d of %d is over", n+1, len(w.waves)), After: &gate, OnFailure: plan.Continue,
			Notify: &plan.Notify{To: []string{commander, operator}, Text: w.say("wave %d of %d is over: %s; next: %s", n+1, len(w.waves), w.names(v), w.names(w.waves[n+1]))},
		}, w.say("What comes next depends on this wave, or is less critical."))}
	}
	return append(all, e.later...)
}

// system writes what is done with one system after the steps that it waits for.
func (w *writer) system(e *ends, p *part, wave int, after []string) {
	id := p.system.Name
	begin := after
	if w.starts(p) {
		start := w.add("start-"+string(id), plan.Step{
			Title: w.say("Start the application of %s", id), System: id, After: &after, OnFailure: w.onFailure(),
			Manual: &plan.Manual{Owner: operator, Instruction: w.say("Start the application of %s at %s, and wait until its instances are registered and well.", id, p.moves[0].to)},
		}, w.say("%s is %s, and its manifest names no instance at %s that is always there. No driver deploys applications.", id, w.word("stage", p.stage), p.moves[0].to))
		if w.asked() { // in an emergency the data does not wait for the application
			begin = []string{start}
		} else {
			e.done[id] = append(e.done[id], start)
		}
	}
	for i := range p.moves {
		w.move(e, p, &p.moves[i], wave, begin)
	}
	following := e.switched[id]
	if len(following) == 0 {
		following = begin
	}
	for _, t := range p.tasks {
		e.done[id] = append(e.done[id], w.task(p, t, following))
	}
	if !w.asked() {
		e.done[id] = append(e.done[id], e.switched[id]...)
	}
}

// starts reports whether somebody has to start the application: it stands by without an instance that is always there.
func (w *writer) starts(p *part) bool {
	if p.stage == estate.MultiActive || len(p.moves) == 0 {
		return false
	}
	for _, u := range p.system.Units {
		if d := p.system.Deployment(u.Module, p.moves[0].to); d != nil && len(d.Instances) == 0 {
			return true
		}
	}
	return false
}

// onFailure: in an emergency other branches go on while people decide about one.
func (w *writer) onFailure() plan.OnFailure {
	if w.asked() {
		return ""
	}
	return plan.Ask
}

// move writes the switch of a group and what belongs to it.
func (w *writer) move(e *ends, p *part, m *move, wave int, after []string) {
	id, group := p.system.Name, string(m.group.Name)
	if m.cold {
		after = w.restore(m, after)
	}
	s := plan.Step{
		Title: w.say("Switch %s to %s", group, m.to), After: &after, OnFailure: w.onFailure(),
		Act:      &plan.Call{Driver: w.action.Driver, Action: w.action.Name, Target: m.unit(), With: map[string]any{"to": string(m.to)}},
		Precheck: &plan.Call{Driver: w.action.Driver, Action: "state", Target: m.unit()},
	}
	for _, u := range m.units[:min(len(m.units), mostLocks)] {
		s.Locks = append(s.Locks, "unit/"+string(u))
	}
	why := w.say("Wave %d: %s carries %s of %s (%s) and goes to %s, where the %s is.", wave+1, group, listed(w.language(), m.units, 20), id, w.word("stage", p.stage), m.to, w.copyOf(m))
	if w.scope.row.RPO == 0 {
		s.Precheck.Expect = "result.accepting && result.inSync > 0.0"
	}
	if w.asked() {
		s.Undo = &plan.Call{Driver: w.action.Driver, Action: w.action.Name, Target: m.unit(), With: map[string]any{"to": fmt.Sprintf(`${steps[%q].outputs.from}`, "before-"+group)}}
		why += w.say(" Undone, it goes back to where it was.")
	}
	if m.lossy {
		s.Timeout = shape.Duration(lossTime)
		w.add("loss-"+group, plan.Step{
			Title: w.say("Have the loss of %s accepted", group), After: &after, OnFailure: plan.Continue,
			Notify: &plan.Notify{To: []string{commander}, Text: w.say("%s goes to %s with a loss that may be there: two people look at the estimate and accept it with: perdure switch accept %s --reason TEXT", group, m.to, m.unit())},
		}, w.say("The copy at %s is async: what was acknowledged and is not there is lost. That is two people's decision; the switch waits for it, at most %s.", m.to, shape.Duration(lossTime)))
	}
	switched := w.add("switch-"+group, s, why)
	e.switched[id] = append(e.switched[id], switched)
	if !w.asked() {
		e.later = append(e.later, w.add("verify-"+group, plan.Step{
			Title: w.say("Verify the accounts of %s", group), After: &[]string{switched}, OnFailure: plan.Ask,
			When:   fmt.Sprintf("facts[%q].quarantined", "unit/"+m.unit()),
			Manual: &plan.Manual{Owner: commander, Instruction: w.say("%s was switched with a loss, and its accounts are in quarantine. Judge them with: perdure quarantine verify %s. Repair what it shows, then: perdure quarantine release %s.", group, m.unit(), m.unit())},
		}, w.say("After a loss no account is served before it was judged. Passed over where nothing was lost.")))
		return
	}
	if settles(m) {
		switched = w.add("settled-"+group, plan.Step{
			Title: w.say("Wait until %s has a copy in sync again", group), After: &[]string{switched}, Timeout: shape.Duration(settleTime), OnFailure: plan.Ask,
			Wait: &plan.Wait{Until: fmt.Sprintf("facts[%q].accepting && facts[%q].inSync > 0.0", "unit/"+m.unit(), "unit/"+m.unit())},
		}, w.say("Until then a failure of the new owner would cost what is acknowledged now; what comes next waits for it."))
	}
	e.done[id] = append(e.done[id], switched)
}

// restore writes what makes an archive a copy, and gives what the switch waits for.
func (w *writer) restore(m *move, after []string) []string {
	group, with := string(m.group.Name), map[string]any{"site": string(m.to)}
	looked := w.add("archive-"+group, plan.Step{
		Title: w.say("Look at the archive of %s at %s", group, m.to), After: &after, OnFailure: plan.Continue,
		Check:   &plan.Call{Driver: "archive", Action: "state", Target: m.unit(), With: with, Expect: "result.ready || result.restored"},
		Outputs: map[string]string{"backupSeconds": "result.backupSeconds", "logSeconds": "result.logSeconds", "until": "result.until"},
	}, w.say("How old the newest backup and the newest log are is about what will be lost. The restore begins whatever this says."))
	restored := w.add("restore-"+group, plan.Step{
		Title: w.say("Restore %s at %s", group, m.to), After: &[]string{looked}, OnFailure: w.onFailure(),
		Act:      &plan.Call{Driver: "archive", Action: "restore", Target: m.unit(), With: with},
		Precheck: &plan.Call{Driver: "archive", Action: "state", Target: m.unit(), With: with, Expect: "result.ready || result.restored"},
		Outputs:  map[string]string{"until": "result.until"},
	}, w.say("Nothing stands by at %s: the newest good backup and all log behind it are made a copy. It owns nothing until two people have accepted the loss and it is switched.", m.to))
	return []string{restored}
}

func (w *writer) copyOf(m *move) string {
	for _, c := range m.group.Members {
		switch {
		case c.Site != m.to:
		case c.ID == m.group.Owner:
			return w.say("first owner")
		case cold(c):
			return w.say("archive")
		case c.Role == unit.AsyncRole:
			return w.say("async copy")
		default:
			return w.say("%s copy", c.Role)
		}
	}
	return w.say("copy")
}

// settles reports whether another member than the new owner acknowledges.
func settles(m *move) bool {
	return slices.ContainsFunc(m.group.Members, func(c manifest.Member) bool { return c.Site != m.to && c.Role != unit.AsyncRole })
}

// task writes what people do with a module that no driver acts on.
func (w *writer) task(p *part, t task, after []string) string {
	from := w.say("the other sites")
	if t.from != "" {
		from = string(t.from)
	}
	var what string
	switch t.module.Archetype {
	case estate.Flow:
		what = w.say("Stop its intake at %s, let its queue run empty where that can still be done, and begin intake at %s. Enter there what could not be delivered.", from, t.to)
	case estate.Compute:
		what = w.say("Give it no more work at %s; begin again at %s what is not finished there.", from, t.to)
	case estate.Query:
		what = w.say("Point its readers from %s to %s, and see that its data there is as new as it has to be.", from, t.to)
	case estate.Account:
	}
	return w.add(fmt.Sprintf("module-%s-%s", p.system.Name, t.module.Name), plan.Step{
		Title: w.say("Bring module %s of %s to %s", t.module.Name, p.system.Name, t.to), System: p.system.Name, After: &after, OnFailure: w.onFailure(),
		Manual: &plan.Manual{Owner: operator, Instruction: w.say("Module %s of %s is of archetype %s. %s", t.module.Name, p.system.Name, t.module.Archetype, what)},
	}, w.say("No driver acts on modules of archetype %s: a person does.", t.module.Archetype))
}

// counted lets those who take orders compare, and gives what comes last.
func (w *writer) counted(after []string) []string {
	owners := []string{}
	for _, p := range w.participants {
		if orders(p) {
			owners = append(owners, p.Name)
		}
	}
	if len(owners) == 0 {
		owners = []string{operator}
	}
	var out []string
	for _, owner := range owners {
		fields := []plan.Parameter{{Name: "difference", Doc: w.say("Amount by which the totals differ."), Type: plan.Number, Required: true}}
		if w.scope.row.Mode == plan.Takeover {
			fields = append(fields, plan.Parameter{Name: "entered", Doc: w.say("Held orders that were entered."), Type: plan.Number, Required: true})
		}
		out = append(out, w.add("count-"+owner, plan.Step{
			Title: w.say("%s compares totals", owner), After: &after,
			Manual: &plan.Manual{Owner: owner, Instruction: w.say("Enter the orders that were held, compare the totals of the day with the front offices, and write down the difference."), Fields: fields},
		}, w.say("The proof of the business that nothing is missing, and where the held orders end up.")))
	}
	return out
}

// tell writes notes to everybody who takes part, as many as it needs.
func (w *writer) tell(id, title, text, why string, after []string) {
	to := []string{commander, operator}
	for _, p := range w.participants {
		to = append(to, p.Name)
	}
	for chunk := range slices.Chunk(to, mostTold) {
		w.add(id, plan.Step{Title: title, After: &after, OnFailure: plan.Continue, Notify: &plan.Notify{To: chunk, Text: text}}, why)
	}
}

// add puts a step into the plan under an ID that is free.
func (w *writer) add(id string, s plan.Step, why string) string {
	s.ID = cut(id)
	for n := 2; w.taken[s.ID]; n++ {
		end := fmt.Sprintf("-%d", n)
		s.ID = strings.TrimRight(id[:min(len(id), longestName-len(end))], "-") + end
	}
	w.taken[s.ID] = true
	w.out = append(w.out, step{s, why})
	return s.ID
}

// summary says in one line what goes where.
func (w *writer) summary() string {
	var words []string
	for _, v := range w.waves {
		for _, p := range v.parts {
			for _, m := range p.moves {
				words = append(words, w.say("%s to %s", m.group.Name, m.to))
			}
			for _, t := range p.tasks {
				words = append(words, w.say("%s of %s to %s (by hand)", t.module.Name, p.system.Name, t.to))
			}
		}
	}
	return listed(w.language(), words, 20)
}

func (w *writer) names(v wave) string {
	var names []estate.SystemID
	for _, p := range v.parts {
		names = append(names, p.system.Name)
	}
	return listed(w.language(), names, 20)
}

// objective is the recovery time objective of an emergency: the longest of its systems', for the whole plan is over no sooner. What is
// planned begins with no disruption to recover from.
func (w *writer) objective() shape.Duration {
	var longest shape.Duration
	if w.asked() || w.scope.o.Mode == plan.Drill {
		return 0
	}
	for _, p := range w.parts {
		longest = max(longest, p.system.Targets.RTO)
	}
	return min(longest, shape.Duration(30*24*time.Hour))
}
