package document

import (
	"strings"
	"time"

	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// LinkedRun is a run that belongs to an incident.
type LinkedRun struct {
	ID, Plan string
	Mode     plan.Mode
	Outcome  run.Outcome // empty: it is not over
	Started  time.Time
	Ended    time.Time
}

// Incident is the report of an incident 运营中断事件报告, with the runs that belong to it in the order in which they were linked. Of one that is closed it is the same for ever, as long as the estate has the same functions; of
// another it says at which instant it was so. The zone is that of all times.
func Incident(v incident.View, runs []LinkedRun, l Language, zone *time.Location) *Document {
	w := &incidentWriter{writer: &writer{pen: pen{t: textsOf(l), more: "more"}, l: l, zone: zone}, v: v}
	t := w.t
	made := w.v.At
	if w.v.Incident.Closed != nil {
		made = w.v.Incident.Closed.At
	}
	title := w.v.Title
	if title == "" {
		title = w.v.ID
	}
	d := &Document{Language: l, Title: t.say("incident"), Subtitle: w.clean(title), Made: made.UTC()}
	w.fill(d, []Section{w.summary(), w.clocks(), w.tasks(), w.course(), w.runs(runs), w.closing()})
	return d
}

type incidentWriter struct {
	*writer
	v incident.View
}

func (w *incidentWriter) summary() Section {
	t, v := w.t, w.v
	s := Section{Title: t.say("summary")}
	fact := func(key, value string) {
		if value != "" {
			s.Facts = append(s.Facts, [2]string{t.say(key), value})
		}
	}
	fact("incident.id", v.ID)
	fact("incident.title", v.Title)
	fact("incident.phase", t.word("phase", string(v.Phase)))
	if v.Into != nil {
		fact("incident.into", v.Into.Value)
	}
	if v.Phase != incident.Over {
		fact("asOf", w.at(v.At))
	}
	kind := "unplanned"
	if v.Planned {
		kind = "planned"
	}
	fact("incident.cause", t.say("incident.cause.is", t.word("cause", string(v.Cause)), t.say("incident."+kind)))
	fact("incident.class", orDash(v.NowClass))
	if v.Class != nil {
		fact("incident.classBy", t.say("incident.classBy.is", v.Class.By, v.Class.Text, orDash(v.Computed)))
	} else if v.Why != "" {
		fact("incident.why", v.Why)
	}
	fact("systems", listOf(t, v.Affected.Systems))
	fact("incident.units", listOf(t, v.Affected.Units))
	fact("functions", strings.Join(v.Functions, t.say("list.and")))
	fact("disruptedAt", w.at(v.From))
	fact("detectedAt", w.at(v.Affected.DetectedAt))
	until := w.at(v.Until)
	switch {
	case v.Until.IsZero():
		until = t.say("incident.goesOn")
	case v.Measured:
		until += " " + t.say("incident.measured")
	case v.Restored != nil:
		until += " " + t.say("incident.saidBy", v.Restored.By)
	}
	fact("incident.until", until)
	fact("incident.amount", w.figure(v.Affected.Amount))
	fact("incident.customers", w.figure(v.Affected.Customers))
	fact("zone", w.zone.String())
	return s
}

// listOf writes names one after the other.
func listOf[T ~string](t catalogue, names []T) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	return strings.Join(texts, t.say("list.and"))
}

// clocks are those of the incident against what may be.
func (w *incidentWriter) clocks() Section {
	s := Section{Title: w.t.say("incident.clocks"), Head: w.heads("clock", "took", "incident.within", "incident.kept")}
	for _, one := range []struct {
		key string
		c   *incident.Clock
	}{{"incident.detect", w.v.Detect}, {"incident.declare", w.v.Declare}, {"incident.recover", w.v.Recover}} {
		took, within, verdict := w.t.say("unknown"), "–", "–"
		if c := one.c; c != nil {
			took = w.t.took(c.Took)
			if c.Going {
				took = w.t.say("incident.soFar", took)
			}
			if c.Within > 0 {
				within, verdict = w.t.took(c.Within), w.t.say("met")
				if c.Late {
					verdict = w.t.say("missed")
				} else if c.Going {
					verdict = "–"
				}
			}
		}
		s.Rows = append(s.Rows, []string{w.t.say(one.key), took, within, verdict})
	}
	return s
}

// tasks are what had to be reported, announced and done, with their clocks.
func (w *incidentWriter) tasks() Section {
	s := Section{Title: w.t.say("incident.tasks"), Head: w.heads("incident.task", "incident.to", "whose", "incident.due", "item", "answered.by", "answered.at", "said")}
	for _, task := range w.v.Tasks {
		name := task.Name
		if task.Title != "" {
			name += " – " + task.Title
		}
		s.Rows = append(s.Rows, []string{name, orDash(task.To), task.Owner, w.at(task.Due), w.t.word("task", string(task.State)), orDash(task.By), w.at(task.When), orDash(task.Text)})
	}
	return s
}

// course is what people said, in the order in which it is asked of them.
func (w *incidentWriter) course() Section {
	s := Section{Title: w.t.say("incident.course"), Head: w.heads("at", "person", "what", "said")}
	row := func(at time.Time, by, what, text string) {
		s.Rows = append(s.Rows, []string{w.at(at), by, w.t.say(what), orDash(text)})
	}
	row(w.v.OpenedAt, w.v.OpenedBy, "incident.opened", w.v.Title)
	for _, p := range w.v.Parts {
		row(p.Said.At, p.Said.By, "incident.joined", strings.TrimSpace(p.ID+" "+p.Said.Text))
	}
	if x := w.v.Into; x != nil {
		row(x.At, x.By, "incident.into", strings.TrimSpace(x.Value+" "+x.Text))
	}
	if x := w.v.Incident.Declared; x != nil {
		row(x.At, x.By, "incident.declared", x.Text)
	}
	if x := w.v.Class; x != nil {
		row(x.At, x.By, "incident.classified", x.Value+" "+x.Text)
	}
	if x := w.v.Restored; x != nil {
		row(x.At, x.By, "incident.restored", strings.TrimSpace(w.at(x.When)+" "+x.Text))
	}
	return s
}

func (w *incidentWriter) runs(runs []LinkedRun) Section {
	s := Section{Title: w.t.say("incident.runs"), Head: w.heads("run", "plan", "mode", "start", "end", "outcome")}
	for _, r := range runs {
		outcome := w.t.say("notOver")
		if r.Outcome != "" {
			outcome = w.t.word("outcome", string(r.Outcome))
		}
		s.Rows = append(s.Rows, []string{r.ID, r.Plan, w.t.word("mode", string(r.Mode)), w.at(r.Started), w.at(r.Ended), outcome})
	}
	for _, p := range w.v.Parts {
		for _, x := range p.Switches {
			s.Rows = append(s.Rows, []string{"–", w.t.say("incident.switch", string(x.Group), x.Left.String()), "–", "–", "–", "–"})
		}
	}
	for _, x := range w.v.Switches {
		s.Rows = append(s.Rows, []string{"–", w.t.say("incident.switch", string(x.Group), x.Left.String()), "–", "–", "–", "–"})
	}
	return s
}

// closing is the review, and who closed it.
func (w *incidentWriter) closing() Section {
	s := Section{Title: w.t.say("incident.review")}
	fact := func(key, value string) { s.Facts = append(s.Facts, [2]string{w.t.say(key), value}) }
	if x := w.v.Review; x != nil {
		fact("incident.finding", x.Text)
		fact("incident.reviewed", w.t.say("incident.byAt", x.By, w.at(x.At)))
	}
	if x := w.v.Incident.Closed; x != nil {
		fact("incident.closed", strings.TrimSpace(w.t.say("incident.byAt", x.By, w.at(x.At))+" "+x.Text))
	}
	return s
}
