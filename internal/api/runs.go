package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// RunStore is what the API needs of the store about runs.
type RunStore interface {
	CreateRun(ctx context.Context, start wire.RunStart) (wire.Run, error)
	Run(ctx context.Context, id string, r wire.Read) (wire.Run, error)
	Runs(ctx context.Context, r wire.Read) ([]wire.Run, error)
	Program(ctx context.Context, id string) (*plan.Program, error)
	Journal(ctx context.Context, id string, after int) ([]run.Entry, error)
	// Say appends what a person said to the journal of a run.
	Say(ctx context.Context, id string, e run.Entry) (wire.Run, error)

	PutAttachment(ctx context.Context, id string, a wire.KeptAttachment, data []byte) (wire.KeptAttachment, error)
	// Attachments gives a file of a run for each step that it was handed in for.
	Attachments(ctx context.Context, id, sum string) ([]wire.KeptAttachment, error)
	AttachmentData(ctx context.Context, id, sum string) ([]byte, error)

	// Armed lists what was found of the armed runs.
	Armed(ctx context.Context, r wire.Read) ([]measure.Armed, error)
}

// Plans reads the plans, the calendars and the rules on incidents of a manifest, and all of it.
type Plans interface {
	Program(manifest, name string, mode plan.Mode) (*plan.Program, error)
	Calendars(manifest string) (*calendar.Book, error)
	IncidentRules(manifest string) (incident.Rules, error)
	Estate(manifest string) (manifest.Set, error)
	Participants(manifest string) ([]manifest.Participant, error)
	Duties(manifest string) (*duty.Book, error)
	// Known reads what of the manifest can be read.
	Known(manifest string) manifest.Set
}

type startInput struct{ Body wire.StartRun }

func (s *Server) startRun(ctx context.Context, in *startInput) (*body[wire.Run], error) {
	id, ask := who(ctx), in.Body
	if !slices.Contains(plan.Modes(), ask.Mode) {
		return nil, errs.New(errs.Invalid, "mode %q is not one of %v", ask.Mode, plan.Modes())
	}
	switch {
	case ask.Tabletop && plan.IsBuiltIn(ask.Plan):
		return nil, errs.New(errs.Invalid, "plan %s has nothing that people could walk around a table", ask.Plan)
	case ask.Tabletop && (ask.Incident != "" || ask.Declare != ""):
		return nil, errs.New(errs.Invalid, "a tabletop belongs to no incident")
	case ask.Tabletop: // nothing is done
	case ask.Mode == plan.Emergency && !id.has(Commander):
		return nil, errs.New(errs.Forbidden, "%s may not start a run in mode emergency: it needs role commander", id.Name)
	case ask.Mode.Real() && !id.has(Operator):
		return nil, errs.New(errs.Forbidden, "%s may not start a run in mode %s, which is for real: it needs role operator", id.Name, ask.Mode)
	}
	if ask.Mode.Real() && !ask.Tabletop {
		if err := s.forReal(ctx, id); err != nil {
			return nil, err
		}
	}
	if have, again, err := s.repeated(ctx, id, ask); again {
		return answer(have, err)
	}
	if !ask.Mode.Real() || ask.Tabletop {
		if err := s.d.Member.Status(ctx).Spare(); err != nil {
			return nil, err
		}
	}
	start, err := s.prepare(ctx, id, ask)
	switch {
	case err != nil:
		return nil, err
	case ask.DryRun:
		return answer(start.Head, nil)
	case plan.IsBuiltIn(ask.Plan):
		if _, err := s.post(ctx, id, start); err != nil {
			return nil, err
		}
		return answer(s.d.Store.Run(ctx, start.Head.ID, wire.Fresh))
	}
	return answer(s.d.Store.CreateRun(ctx, start))
}

// repeated gives the run that the same request has started before.
func (s *Server) repeated(ctx context.Context, id identity, ask wire.StartRun) (have wire.Run, again bool, err error) {
	if ask.ID == "" {
		return have, false, nil
	}
	have, err = s.d.Store.Run(ctx, ask.ID, wire.Fresh)
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return have, false, nil
	case err != nil:
		return have, true, err
	case have.Plan != ask.Plan || have.Mode != ask.Mode || have.Tabletop != ask.Tabletop || have.StartedBy != id.Person:
		return have, false, nil // the ID is taken, which is found by whoever would start it
	}
	if !plan.IsBuiltIn(ask.Plan) {
		return have, true, nil
	}
	journal, err := s.d.Store.Journal(ctx, ask.ID, 0)
	if err != nil {
		return have, true, err
	}
	if len(journal) == 0 || !maps.Equal(journal[0].Params, ask.Params) {
		return have, true, errs.New(errs.Conflict, "there is a run %s already, and it was asked for something else", ask.ID)
	}
	return have, true, nil
}

// prepare makes a run that may be started now, with the first entry of its journal.
func (s *Server) prepare(ctx context.Context, id identity, ask wire.StartRun) (wire.RunStart, error) {
	named, err := s.incidentOf(ctx, ask)
	if err != nil {
		return wire.RunStart{}, err
	}
	if ask.DisruptedAt.IsZero() && ask.DetectedAt.IsZero() { // recovery time is measured from the disruption that the incident is about
		known := named.All()
		ask.DisruptedAt, ask.DetectedAt = known.DisruptedAt, known.DetectedAt
	}
	current, err := s.d.Store.Manifest(ctx, wire.Fresh)
	if err != nil {
		return wire.RunStart{}, err
	}
	if s.d.Plans == nil {
		return wire.RunStart{}, errs.New(errs.Unavailable, "this node carries out no plans")
	}
	program, err := s.d.Plans.Program(current.Text, ask.Plan, ask.Mode)
	if err != nil {
		return wire.RunStart{}, err
	}
	params, err := program.Bind(ask.Params)
	if err != nil {
		return wire.RunStart{}, err
	}
	if plan.IsBuiltIn(ask.Plan) { // it is about the system of what it acts on
		name, _ := params["unit"].(string)
		if err := s.about(ctx, program, estate.UnitID(name)); err != nil {
			return wire.RunStart{}, err
		}
	}
	if err := s.ofTenant(ctx, program, params); err != nil {
		return wire.RunStart{}, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	if ask.ID == "" {
		ask.ID = runID(ask.Plan, now)
	}
	first := run.Entry{Seq: 1, At: now, By: id.Person, What: run.Started, Params: params, Text: ask.Reason, DisruptedAt: utc(ask.DisruptedAt), DetectedAt: utc(ask.DetectedAt), Factor: id.Factor}
	var ruled ruling
	if ask.Tabletop {
		program = program.Tabletop()
	} else if ruled, err = s.judgeStart(ctx, current, id.Person, program, params, now); err != nil {
		return wire.RunStart{}, err
	} else {
		first.Notes, first.Facts = append(overridden(program), ruled.Notes...), ruled.In.Facts()
	}
	head, err := wire.NewRun(ask.ID, program, first)
	if err != nil {
		return wire.RunStart{}, err
	}
	head.Schedules = ruled.counts
	start := wire.RunStart{Head: head, Program: program, Journal: []run.Entry{first}, Windows: ruled.windows}
	start.Incident, err = s.incidentOfStart(ctx, ask, named, start, id.Person)
	return start, err
}

// about has one of the product's own plans be about the system of a unit, and of its tenant.
func (s *Server) about(ctx context.Context, program *plan.Program, id estate.UnitID) error {
	g, err := s.groupOf(ctx, id)
	if err != nil {
		return err
	}
	program.System = g.Record.System
	program.Tenant, _, err = s.scoped.tenantOf(ctx, id)
	return err
}

// ofTenant refuses a run of a tenant's plan that would act on what is not the tenant's, as far as that is known when it begins (T2).
func (s *Server) ofTenant(ctx context.Context, program *plan.Program, params map[string]any) error {
	if program.Tenant == "" {
		return nil
	}
	targets, _ := program.Targets("", params)
	for _, target := range targets {
		of, ok, err := s.scoped.tenantOf(ctx, estate.UnitID(target))
		switch {
		case err != nil:
			return err
		case !ok || of != program.Tenant:
			return errs.New(errs.Refused, "plan %s is of tenant %s, which has no unit %s (T2)", program.Plan, program.Tenant, target)
		}
	}
	return nil
}

// overridden tells how a program breaks the contract of a mode that is not strict: who starts it does so in spite of that, and the journal says so.
// Where there are many the first ones stand for all: they must not become a reason not to start.
func overridden(p *plan.Program) []string {
	const most = 20
	var notes []string
	breaches := p.Breaches(plan.BuiltIn())
	for i, b := range breaches {
		if i == most {
			return append(notes, fmt.Sprintf("the contract of mode %s is broken %d times more", p.Mode, len(breaches)-most))
		}
		by := ""
		if b.Step != "" {
			by = " by step " + b.Step
		}
		notes = append(notes, fmt.Sprintf("the contract of mode %s is broken%s: %s", p.Mode, by, b.Reason))
	}
	return notes
}

// ruling is what the calendars say of a start.
type ruling struct {
	calendar.Ruling
	counts  []string // the schedules that it counts for
	windows int64    // revision of the approvals of windows that it begins by; 0: it needs no window
}

// judgeStart asks the calendars; an error refuses the start.
func (s *Server) judgeStart(ctx context.Context, m wire.Manifest, by string, program *plan.Program, params map[string]any, now time.Time) (ruling, error) {
	book, err := s.book(m)
	var standing calendar.Standing
	var revision int64
	if err == nil {
		standing, revision, err = s.approved(ctx, m, wire.Fresh)
	}
	if err != nil {
		if trigger := plan.ContractOf(program.Mode).Trigger; trigger == plan.Unplanned || trigger == plan.Automatic {
			return ruling{Ruling: calendar.Ruling{Notes: []string{fmt.Sprintf("the calendars cannot be read, so nothing was checked: %v", err)}}}, nil
		}
		return ruling{}, err
	}
	ask := calendar.AskOf(program, params)
	ask.By = by
	out := ruling{Ruling: book.Rule(ask, standing, now), counts: book.Counts(program.Plan, program.Mode, params, now)}
	if out.Refusal != "" {
		return out, errs.New(errs.Refused, "cannot start plan %s in mode %s: %s", program.Plan, program.Mode, out.Refusal)
	}
	if out.In != nil {
		out.windows = revision
	}
	return out, nil
}

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// runID is a name that people can tell apart and say aloud.
func runID(plan string, now time.Time) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // it never fails
	return fmt.Sprintf("%s-%s-%s", plan, now.Format("0102-150405"), hex.EncodeToString(b[:]))
}

func (s *Server) listRuns(ctx context.Context, in *struct {
	Paging
	Freshness
},
) (*page[wire.Run], error) {
	runs, err := s.d.Store.Runs(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	return pageOf(ctx, in.Paging, runs, func(r wire.Run) place { return place{r.StartedAt, r.ID} })
}

type runInput struct {
	Run string `path:"run"`
}

func (s *Server) getRun(ctx context.Context, in *runInput) (*body[wire.RunState], error) {
	head, r, err := s.replay(ctx, in.Run)
	if err != nil {
		return nil, err
	}
	state := stateOf(head, r)
	state.Participants = s.progress(ctx, r)
	return &body[wire.RunState]{state}, nil
}

// replay makes a run from its journal.
func (s *Server) replay(ctx context.Context, id string) (wire.Run, *run.Run, error) {
	head, program, journal, err := s.journalOf(ctx, id)
	if err != nil {
		return head, nil, err
	}
	r, err := run.Replay(id, program, journal)
	return head, r, err
}

type journalInput struct {
	Run   string `path:"run"`
	After int    `query:"after" minimum:"0" doc:"number of the last entry that is known"`
	Limit int    `query:"limit" minimum:"1" maximum:"5000" default:"1000" doc:"at most so many entries"`
}

func (s *Server) getJournal(ctx context.Context, in *journalInput) (*page[run.Entry], error) {
	if _, err := s.d.Store.Run(ctx, in.Run, wire.Fresh); err != nil {
		return nil, err
	}
	entries, err := s.d.Store.Journal(ctx, in.Run, in.After)
	if err != nil {
		return nil, err
	}
	out := &page[run.Entry]{Body: entries[:min(len(entries), in.Limit)]}
	if len(entries) > len(out.Body) {
		out.Link = next(ctx, strconv.Itoa(out.Body[len(out.Body)-1].Seq))
	}
	return out, nil
}

type wordInput struct {
	Run  string `path:"run"`
	Body wire.RunWord
}

func (s *Server) sayToRun(ctx context.Context, in *wordInput) (*body[wire.Run], error) {
	id, word := who(ctx), in.Body
	e := run.Entry{
		By: id.Person, What: word.What, Node: word.Step, Undo: word.Undo, Text: word.Text, For: word.For, To: word.To, Result: word.Result, Factor: id.Factor,
	}
	if word.Objects && word.What == run.Attested {
		e.Outcome = run.Refused
	}
	if !id.has(Viewer) {
		return answer(s.answerTask(ctx, id, in.Run, e, word.Attachments))
	}
	head, err := s.d.Store.Run(ctx, in.Run, wire.Fresh)
	if err != nil {
		return nil, err
	}
	if err := s.maySay(ctx, id, head, &e); err != nil {
		return nil, err
	}
	if err := s.sayForReal(ctx, id, head, e.What); err != nil {
		return nil, err
	}
	if e.Attachments, err = s.attached(ctx, in.Run, e, word.Attachments); err != nil {
		return nil, err
	}
	return answer(s.d.Store.Say(ctx, in.Run, e))
}

// sayForReal refuses a word to a run that is for real to whoever has shown no second factor. Pausing does no harm, and neither a review nor an
// acknowledgement does anything: none of them waits for one.
func (s *Server) sayForReal(ctx context.Context, id identity, head wire.Run, what run.What) error {
	if !head.Real() || what == run.Paused || what == run.Reviewed || what == run.Acknowledged {
		return nil
	}
	return s.forReal(ctx, id)
}

// maySay judges whether a person may say something to a run, as far as that follows from who they are; what the run takes is its own to judge.
func (s *Server) maySay(ctx context.Context, id identity, head wire.Run, e *run.Entry) error {
	switch e.What {
	case run.Paused, run.Resumed, run.Retried, run.Skipped, run.TakenOver, run.Cancelled:
		return id.maySteer(head)
	case run.Completed, run.Acknowledged:
		return s.mayAnswer(ctx, id, head, e)
	case run.AddedApprover:
		if err := id.maySteer(head); err != nil {
			return err
		}
		if slices.Contains(wire.Roles(), wire.Role(e.For)) || e.For == "" {
			return nil
		}
		return s.known(ctx, e.For, head.Tenant)
	case run.Approved, run.Declined, run.Delegated:
		if e.What == run.Declined {
			m, err := s.taskOf(ctx, head, e.Node)
			if err != nil {
				return err
			}
			if m != nil {
				return s.mayAnswer(ctx, id, head, e)
			}
		}
		if err := s.decidesAs(ctx, id, head, e); err != nil {
			return err
		}
		// A person speaks for a role that they have, for their participant, for what they are on duty for, or for themselves.
		if e.For != id.Person && e.For != id.Participant && !s.desk(ctx).person(id, head).Holds(e.For) {
			return errs.New(errs.Forbidden, "%s may not decide for %q", id.Name, e.For)
		}
		if e.For == id.Person && id.Participant != "" && id.Participant != id.Person {
			if err := s.askedByName(ctx, id, head, e.Node); err != nil {
				return err
			}
		}
		if e.What == run.Delegated && e.To != "" {
			return s.known(ctx, e.To, head.Tenant)
		}
		return nil
	case run.BrokeGlass:
		if !id.has(Commander) {
			return errs.New(errs.Forbidden, "%s may not break glass: it needs role commander", id.Name)
		}
		return nil
	case run.Attested:
		return s.mayAttest(ctx, id, head, e)
	case run.Reviewed:
		if !id.has(Auditor) && !id.has(Commander) {
			return errs.New(errs.Forbidden, "%s may not review a run: it needs role auditor or commander", id.Name)
		}
		return nil
	case run.Took, run.Entered, run.Passed, run.Began, run.Ended, run.Opened, run.Finished, run.Started:
	}
	return errs.New(errs.Invalid, "%q is not something that people say to a run; allowed: paused, resumed, retried, skipped, takenOver, cancelled, acknowledged, approved, declined, completed, delegated, addedApprover, brokeGlass, reviewed, attested", e.What)
}

// mayAttest lets those attest a run who steer such runs, auditors and commanders, and notes in which role they do.
func (s *Server) mayAttest(ctx context.Context, id identity, head wire.Run, e *run.Entry) error {
	for _, role := range []wire.Role{wire.Commander, wire.Auditor, wire.Operator, wire.Driller} {
		if e.For == "" && (role != wire.Driller || !head.Real()) && id.has(Access(role)) {
			e.For = string(role)
		}
	}
	if e.For == "" || !id.speaksAs(head, e.For) {
		return errs.New(errs.Forbidden, "%s may not attest a run in mode %s: it needs role commander, auditor or operator, or driller where it is not for real", id.Name, head.Mode)
	}
	return nil
}

// steers reports whether a person may steer a run: who has the rights for real, or for what is not real.
func (i identity) steers(head wire.Run) bool {
	return i.has(Operator) || !head.Real() && i.has(Driller)
}

func (i identity) maySteer(head wire.Run) error {
	if i.steers(head) {
		return nil
	}
	need := "operator"
	if !head.Real() {
		need = "driller or operator"
	}
	return errs.New(errs.Forbidden, "%s may not do that to a run in mode %s: it needs role %s", i.Name, head.Mode, need)
}

// speaksAs reports whether a person has a role that is asked. The rights of drillers do not count for real, and role participant is asked
// nothing: its holders speak for a participant.
func (i identity) speaksAs(head wire.Run, role string) bool {
	if Access(role) == Participant || Access(role) == Driller && head.Real() && !i.has(Operator) {
		return false
	}
	return slices.Contains(wire.Roles(), wire.Role(role)) && i.has(Access(role))
}

// known refuses a person of whom nobody has heard, and one who has no part in what is a tenant's: what is asked of them would wait for ever.
func (s *Server) known(ctx context.Context, name string, tenant estate.TenantID) error {
	ok, err := s.d.Store.Person(ctx, name, tenant)
	if err == nil && !ok {
		err = errs.New(errs.NotFound, "there is nobody called %q who may act; perdure user list shows who there is", name)
	}
	return err
}

// forReal refuses what is done for real to whoever has shown no second factor, where the estate wants one.
func (s *Server) forReal(ctx context.Context, id identity) error {
	if !id.Factor.IsZero() || id.Machine != "" {
		return nil
	}
	p, err := s.d.Store.Policy(ctx, wire.Fresh)
	if err != nil {
		return err
	}
	switch {
	case id.Session != "" && p.SecondFactor != wire.FactorOff:
		return errs.New(errs.Forbidden, "%s has logged in without a second factor, and this is for real: enrol one (perdure user totp) and log in with it", id.Name)
	case id.Session == "" && p.SecondFactor == wire.FactorAll:
		return errs.New(errs.Forbidden, "%s shows a token, which has no second factor, and this is for real: log in (perdure login)", id.Name)
	}
	return nil
}

func stateOf(head wire.Run, r *run.Run) wire.RunState {
	out := wire.RunState{Run: head, Steps: make([]wire.RunStep, len(r.Steps)), Attested: r.Attested}
	for i, s := range r.Steps {
		n := &r.Program.Nodes[i]
		step := wire.RunStep{
			ID: n.ID, Title: n.Step.Title, Kind: n.Step.Kind(), Status: s.Status, Attempts: s.Attempt, Text: s.Text, Error: s.Error, Reason: s.Reason,
			Outputs: s.Outputs, Votes: s.Votes, Undo: s.Undo.Status, Delegations: s.Delegations, Added: s.Added, Attachments: s.Attachments,
		}
		if m := n.Step.Manual; m != nil {
			step.Owner, step.Fields, step.Wants = m.Owner, m.Fields, m.Attachments
			if s.Answer != (run.Answer{}) {
				step.Answer = &s.Answer
			}
			if step.Text == "" {
				step.Text = m.Instruction // as the plan has it: the values come when the task is opened
			}
		}
		if a := n.Step.Approval; a != nil {
			step.Of, step.Need = a.Of, a.Need
			if step.Text == "" {
				step.Text = a.Text
			}
		}
		for _, d := range n.After {
			step.After = append(step.After, strings.TrimSuffix(r.Program.Nodes[d.Node].ID+"."+d.Port, "."))
		}
		if !s.Opened.IsZero() {
			step.BeganAt = s.Opened.UnixMilli()
		}
		if !s.Ended.IsZero() {
			step.EndedAt = s.Ended.UnixMilli()
		}
		out.Steps[i] = step
	}
	return out
}
