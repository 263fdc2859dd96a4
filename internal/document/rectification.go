package document

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/evaluation"
	"perdure/internal/rectification"
	"perdure/internal/run"
)

// Wrapup is what a run came to 演练总结: how it is judged, who took part, how long it took, what it has shown to be wrong and what became of that
// since. The sheet is that of the run, nil where nobody opened one; late is judged at an instant. The zone is that of all times.
func Wrapup(src Source, sheet *rectification.Sheet, at time.Time, l Language, zone *time.Location) (*Document, error) {
	e, err := newJudged(src, l, zone)
	if err != nil {
		return nil, err
	}
	evidence, err := e.evidence()
	if err != nil {
		return nil, err
	}
	d := e.document("summary.")
	problems := e.rectify()
	if sheet != nil {
		problems = e.items("rectification", []rectification.Sheet{*sheet}, at, false)
	}
	e.fill(d, []Section{e.summary(), e.missed(), e.clocks(), e.part(), e.deviations(), problems, evidence})
	return d, nil
}

// missed are the criteria that were not met, and those of which that is not known.
func (e *judged) missed() Section {
	all := e.judgement()
	s := Section{Title: e.t.say("summary.missed"), Head: all.Head}
	for i, j := range e.of.Judged {
		if j.Verdict == evaluation.Missed || j.Verdict == evaluation.Unknown {
			s.Rows = append(s.Rows, all.Rows[i])
		}
	}
	return s
}

// part is who took part, in the order in which they first said something.
func (e *judged) part() Section {
	s := Section{Title: e.t.say("summary.part"), Head: e.heads("person", "behalf", "what", "step")}
	type one struct{ as, said, steps []string }
	var names []string
	by := map[string]*one{}
	add := func(list *[]string, text string) {
		if text != "" && !slices.Contains(*list, text) {
			*list = append(*list, text)
		}
	}
	for i := range e.src.Journal {
		entry := &e.src.Journal[i]
		if strings.HasPrefix(entry.By, "node:") || entry.What == run.Took {
			continue
		}
		if by[entry.By] == nil {
			names = append(names, entry.By)
			by[entry.By] = &one{}
		}
		add(&by[entry.By].as, entry.For)
		add(&by[entry.By].said, e.t.word("said", string(entry.What)))
		add(&by[entry.By].steps, entry.Node)
	}
	for _, name := range names {
		p := by[name]
		s.Rows = append(s.Rows, []string{name, orDash(strings.Join(p.as, ", ")), strings.Join(p.said, ", "), orDash(strings.Join(p.steps, ", "))})
	}
	return s
}

// Tracking is what has to be put right after runs, and what became of it 整改跟踪表. What is late is judged at an instant.
func Tracking(sheets []rectification.Sheet, at time.Time, l Language, zone *time.Location) *Document {
	w := &writer{pen: pen{t: textsOf(l), more: "more"}, l: l, zone: zone}
	t := w.t
	d := &Document{Language: l, Title: t.say("tracking"), Subtitle: t.say("tracking.asOf", w.at(at), zone.String()), Made: at.UTC()}
	count := map[rectification.State]int{}
	items, late := 0, 0
	var runs [][]string
	for _, s := range sheets {
		v := rectification.Look(s, at)
		for _, i := range v.Items {
			count[i.State]++
		}
		items, late = items+len(v.Items), late+v.Late
		kind := t.word("mode", string(s.Mode))
		if s.Tabletop {
			kind = t.say("tabletop", kind)
		}
		runs = append(runs, []string{s.Run, s.Plan, kind, w.at(s.Ended), t.word("outcome", string(s.Outcome)), number(len(v.Items)), number(v.Open), number(v.Late)})
	}
	facts := Section{Title: t.say("summary"), Facts: [][2]string{{t.say("tracking.runs"), number(len(sheets))}, {t.say("tracking.items"), number(items)}}}
	for _, state := range []rectification.State{rectification.Open, rectification.Corrected, rectification.Closed, rectification.Accepted} {
		facts.Facts = append(facts.Facts, [2]string{t.word("item", string(state)), number(count[state])})
	}
	facts.Facts = append(facts.Facts, [2]string{t.say("tracking.late"), number(late)})
	w.fill(d, []Section{
		facts,
		{Title: t.say("tracking.runs"), Head: w.heads("run", "plan", "mode", "end", "outcome", "tracking.items", "tracking.open", "tracking.late"), Rows: runs},
		w.items("rectification", sheets, at, true),
	})
	return d
}

// items is a table of what has to be put right; where it is about several runs, each row says after which.
func (w *writer) items(title string, sheets []rectification.Sheet, at time.Time, several bool) Section {
	t := w.t
	s := Section{Title: t.say(title), Head: w.heads("no", "problem", "step", "item.owner", "item.due", "item", "item.done", "item.retests", "retest")}
	if several {
		s.Head = append([]string{t.say("run")}, s.Head...)
	}
	for _, sheet := range sheets {
		for n := range sheet.Items {
			i := &sheet.Items[n]
			problem, retest := w.problem(i.Problem)
			if i.AddedBy != "" {
				problem = t.say("item.added", problem, i.AddedBy, w.at(i.AddedAt))
			}
			row := []string{strconv.Itoa(i.Number), problem, orDash(i.Problem.Step), orDash(i.Owner), w.at(i.Due), w.stateOf(i, at), w.saidOf(i.Corrected), w.retests(i.Retests), retest}
			if several {
				row = append([]string{sheet.Run}, row...)
			}
			s.Rows = append(s.Rows, row)
		}
	}
	return s
}

func (w *writer) stateOf(i *rectification.Item, at time.Time) string {
	state := w.t.word("item", string(i.State()))
	switch {
	case i.Accepted != nil:
		state += "\n" + w.saidOf(i.Accepted)
	case i.Late(at):
		state = w.t.say("item.late", state)
	}
	return state
}

func (w *writer) saidOf(s *rectification.Said) string {
	if s == nil {
		return "–"
	}
	return w.t.say("item.said", s.Text, s.By, w.at(s.At))
}

func (w *writer) retests(all []rectification.Retest) string {
	lines := make([]string, len(all))
	for n, r := range all {
		key := "item.failed"
		if r.Passed {
			key = "item.passed"
		}
		lines[n] = strings.TrimSpace(w.t.say(key, r.Run, r.By, w.at(r.At)) + " " + r.Text)
	}
	return orDash(strings.Join(lines, "\n"))
}
