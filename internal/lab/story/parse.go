package story

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
)

// problemsMost bounds how many problems of a file are told at once.
const problemsMost = 20

// Problem is one mistake in a file.
type Problem struct {
	File    string
	Line    int
	Message string
}

// Error gives the form that editors jump to.
func (p Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message) }

// Parse reads a story. All problems (at most 20) are told at once, each with its line and what is allowed there.
func Parse(file string, text []byte) (Story, error) {
	p := &parser{file: file, stepNames: map[string]int{}}
	name := filepath.Base(file)
	s := Story{Name: strings.TrimSuffix(name, filepath.Ext(name))}
	lines := strings.Split(string(text), "\n")
	s.Statements, _ = p.block(lines, nil)
	p.order(s.Statements)
	s.Within = p.bound(s.Statements)
	if len(p.problems) == 0 {
		return s, nil
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return a.Line - b.Line })
	var b strings.Builder
	for i, problem := range p.problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(problem.Error())
	}
	return Story{}, errs.New(errs.Invalid, "%s", b.String())
}

type parser struct {
	file      string
	line      int // the one being read, from 1
	problems  []Problem
	stepNames map[string]int
}

func (p *parser) problem(line int, format string, args ...any) {
	if len(p.problems) < problemsMost {
		p.problems = append(p.problems, Problem{p.file, line, fmt.Sprintf(format, args...)})
	}
}

// opener is the statement whose block is being read.
type opener struct {
	line int
	word string
	up   *opener
}

// within reports whether the block, or one around it, was opened by the word.
func (o *opener) within(word string) bool {
	for ; o != nil; o = o.up {
		if o.word == word {
			return true
		}
	}
	return false
}

// nestMost bounds blocks in blocks.
const nestMost = 8

// block reads statements until the end of the block, or of the file; ended says that the word "end" was there.
func (p *parser) block(lines []string, in *opener) (all []Statement, ended bool) {
	for p.line < len(lines) {
		line := lines[p.line]
		p.line++
		tokens, err := split(line)
		if err != nil {
			p.problem(p.line, "%v", err)
			continue
		}
		if len(tokens) == 0 {
			continue
		}
		w := &words{tokens: tokens}
		if w.take("end") {
			if len(w.tokens) > 0 {
				p.problem(p.line, "unexpected %q; allowed here: the end of the line", w.tokens[0].text)
			}
			if in == nil {
				p.problem(p.line, "there is no step or repeat to end")
				continue
			}
			return all, true
		}
		s := Statement{Line: p.line, Text: write(tokens)}
		p.statement(&s, w, in, lines)
		all = append(all, s)
	}
	if in != nil {
		p.problem(in.line, "the %s has no end; close it with a line that says: end", in.word)
	}
	return all, false
}

// write gives the statement back in its canonical spacing.
func write(tokens []token) string {
	var parts []string
	for _, t := range tokens {
		if t.quoted {
			parts = append(parts, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(t.text)+`"`)
		} else {
			parts = append(parts, t.text)
		}
	}
	return strings.Join(parts, " ")
}

// firstWords are what a statement may begin with.
var firstWords = []string{
	"within", "estate", "policy", "disk", "latency", "start", "load", "step", "repeat", "switch", "accept", "verify", "release", "resend", "generate", "run", "approve", "decline", "complete", "retry", "cancel", "orders", "fetch", "window", "evidence", "recover", "fault", "heal", "wait", "pass", "say", "kills", "check",
}

func (p *parser) statement(s *Statement, w *words, in *opener, lines []string) {
	word := w.one(firstWords...)
	line := p.line
	depth := 0
	for o := in; o != nil; o = o.up {
		depth++
	}
	if (word == "step" || word == "repeat") && depth >= nestMost {
		w.fail("blocks may stand in each other at most %d deep", nestMost)
	}
	switch word {
	case "step":
		step := p.step(w, in)
		p.finish(w, line)
		step.Body, _ = p.block(lines, &opener{line, word, in})
		s.Step = step
		return
	case "repeat":
		r := &Repeat{}
		if w.take("for") {
			r.For = w.duration()
		} else {
			r.Times = w.integer("a number of times", 1, 100_000)
		}
		p.finish(w, line)
		r.Body, _ = p.block(lines, &opener{line, word, in})
		s.Repeat = r
		return
	case "wait":
		s.Wait = parseWait(w)
	case "pass":
		parsePass(w, s)
	case "say":
		s.Say = w.text("what is said")
	case "within":
		s.Within = w.duration()
		if in != nil {
			w.fail("within bounds the whole story, so it does not stand in a %s", in.word)
		}
	case "":
	default:
		if word == "kills" && in.within("step") {
			w.fail("each kill is a step, and a step cannot stand in a step")
		}
		s.Action = parseAction(word, w)
	}
	p.finish(w, line)
}

// finish reports what is wrong with the line, or left of it.
func (p *parser) finish(w *words, line int) {
	if w.more() {
		w.unexpected("the end of the line")
	}
	if w.err != nil {
		p.problem(line, "%v", w.err)
	}
}

// modes are the kinds of steps.
var modes = []string{
	string(history.Takeover), string(history.Failover), string(history.Emergency), string(history.SwitchBack), string(history.Drill), string(history.Steadily),
}

func (p *parser) step(w *words, in *opener) *Step {
	s := &Step{Name: w.text("the name of the step")}
	if w.err == nil && (s.Name == "" || len(s.Name) > 120) {
		w.fail("a step has a name of 1 to 120 bytes")
	}
	if in.within("step") {
		w.fail("a step cannot stand in a step")
	}
	if first, ok := p.stepNames[s.Name]; ok && w.err == nil {
		w.fail("step %q is there already, on line %d", s.Name, first)
	}
	p.stepNames[s.Name] = p.line
	s.Mode = history.Mode(w.one(modes...))
	for w.more() {
		switch w.one("zh", "units", "loss", "exact", "diverged", "resent", "two-owners", "no-survivor", "closed", "switches") {
		case "zh":
			s.Title = map[string]string{"en": s.Name, "zh": w.text("the title in Chinese")}
		case "units":
			s.Expect.Units = unitIDs(w.names("a unit"))
		case "loss":
			s.Expect.Loss = true
		case "exact":
			s.Expect.Exact = true
		case "diverged":
			s.Expect.Diverged = w.integer("how many transactions diverge at least", 1, 1_000_000)
		case "resent":
			s.Expect.Resent = w.integer("how many lost writes are there again at least", 1, 1_000_000)
		case "two-owners":
			s.Expect.TwoOwners = true
		case "no-survivor":
			s.Expect.NoSurvivor = true
		case "closed":
			s.Expect.MaxClosed = w.duration()
		case "switches":
			u, n := estate.UnitID(w.name("a unit")), w.integer("how often it changes hands", 0, 1000)
			if s.Expect.Switches == nil {
				s.Expect.Switches = map[estate.UnitID]int{}
			}
			s.Expect.Switches[u] = n
		}
	}
	if s.Expect.Resent > 0 && !s.Expect.Loss {
		w.fail("resent is about what an accepted loss took away: put loss before it")
	}
	return s
}

// bound gives how long the story may take from its first load, 0 where it does not say.
func (p *parser) bound(all []Statement) time.Duration {
	var within time.Duration
	line := 0
	for _, s := range all {
		switch {
		case s.Within > 0 && line > 0:
			p.problem(s.Line, "the story is bounded already, on line %d", line)
		case s.Within > 0:
			within, line = s.Within, s.Line
		}
	}
	if line > 0 && !loads(all) {
		p.problem(line, "within counts from the first load, and the story puts none on")
	}
	return within
}

// loads reports whether a statement, or one in it, puts load on.
func loads(all []Statement) bool {
	return slices.ContainsFunc(all, func(s Statement) bool {
		_, is := s.Action.(Load)
		return is || s.Step != nil && loads(s.Step.Body) || s.Repeat != nil && loads(s.Repeat.Body)
	})
}

func unitIDs(names []string) []estate.UnitID {
	var all []estate.UnitID
	for _, n := range names {
		all = append(all, estate.UnitID(n))
	}
	return all
}

func siteIDs(names []string) []estate.SiteID {
	var all []estate.SiteID
	for _, n := range names {
		all = append(all, estate.SiteID(n))
	}
	return all
}

// order checks what can be said without running: there is an estate and it is started before it is used.
func (p *parser) order(statements []Statement) {
	var laid, started, loaded bool
	var walk func([]Statement)
	walk = func(all []Statement) {
		for _, s := range all {
			switch a := s.Action.(type) {
			case Estate:
				laid, started, loaded = true, false, false
			case Policy, Disk:
				if !laid || started {
					p.problem(s.Line, "this stands between the estate and its start")
				}
			case Latency:
				if !laid {
					p.problem(s.Line, "there is no estate yet; begin with: estate two-city")
				}
			case Start:
				if !laid {
					p.problem(s.Line, "there is no estate to start yet; begin with: estate two-city")
				}
				if started && len(a.Sites)+len(a.Processes) == 0 {
					p.problem(s.Line, "the estate is started already")
				}
				started = true
			case Check:
				if !started {
					p.problem(s.Line, "there is nothing to check before the estate is started")
				}
				laid, started, loaded = false, false, false
			case LoadStop:
				if !loaded {
					p.problem(s.Line, "there is no load to stop")
				}
				loaded = false
			case Load:
				if loaded {
					p.problem(s.Line, "there is load already; end it with: load stop")
				}
				loaded = true
				p.needStarted(started, s.Line)
			case nil:
				switch {
				case s.Wait != nil, s.Step != nil, s.Until != nil:
					p.needStarted(started, s.Line)
				}
			default:
				p.needStarted(started, s.Line)
			}
			if s.Step != nil {
				walk(s.Step.Body)
			}
			if s.Repeat != nil {
				walk(s.Repeat.Body)
			}
		}
	}
	walk(statements)
	if !slices.ContainsFunc(statements, func(s Statement) bool { return s.Action != nil }) && len(p.problems) == 0 {
		p.problem(max(1, p.line), "the story does nothing; begin with: estate two-city")
	}
}

func (p *parser) needStarted(started bool, line int) {
	if !started {
		p.problem(line, "the estate is not started yet; put before it: estate two-city, and: start")
	}
}
