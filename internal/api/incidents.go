package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/calendar"
	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// IncidentStore is what the API needs of the store about incidents.
type IncidentStore interface {
	OpenIncident(ctx context.Context, who string, i incident.Incident) (incident.Incident, error)
	Incident(ctx context.Context, id string, r wire.Read) (incident.Incident, error)
	Incidents(ctx context.Context, r wire.Read) ([]incident.Incident, error)
	// SayIncident commits what a person says, judged on the newest state.
	SayIncident(ctx context.Context, id string, c incident.Change) (incident.Incident, error)
	// JoinIncident makes one part of another one, which it gives.
	JoinIncident(ctx context.Context, id string, c incident.Change) (incident.Incident, error)
	// Gaps gives the history of ownership of a group, the newest first.
	Gaps(ctx context.Context, group estate.GroupID, r wire.Read) ([]incident.Gap, error)
	// Measured gives what the history of ownership and linked runs say of an incident.
	Measured(ctx context.Context, i incident.Incident, r wire.Read) (incident.Seen, error)
}

// rules gives those on incidents of the applied manifest.
func (s *Server) rules(ctx context.Context, r wire.Read) (incident.Rules, error) {
	if s.d.Plans == nil {
		return incident.Rules{}, errs.New(errs.Unavailable, "this node reads no rules on incidents")
	}
	m, err := s.d.Store.Manifest(ctx, r)
	if err != nil {
		return incident.Rules{}, err
	}
	return s.ruled.get(m, s.d.Plans.IncidentRules)
}

// look says how an incident stands now. Rules that cannot be read keep nobody from looking.
func (s *Server) look(ctx context.Context, i incident.Incident, r wire.Read) (incident.View, error) {
	var rules incident.Rules
	var seen incident.Seen
	if i.Rules == nil {
		var err error
		if rules, err = s.rules(ctx, r); err != nil && errs.KindOf(err) != errs.Invalid {
			return incident.View{}, err
		}
	}
	if i.Phase != incident.Over {
		var err error
		if seen, err = s.d.Store.Measured(ctx, i, r); err != nil {
			return incident.View{}, err
		}
	}
	return incident.Look(i, rules, &seen, time.Now().UTC()), nil
}

func (s *Server) openIncident(ctx context.Context, in *struct{ Body wire.OpenIncident }) (*body[incident.View], error) {
	id, ask := who(ctx), in.Body
	now := time.Now().UTC().Truncate(time.Microsecond)
	if ask.ID == "" {
		var b [3]byte
		_, _ = rand.Read(b[:]) // it never fails
		ask.ID = fmt.Sprintf("incident-%s-%s", now.Format("0102-150405"), hex.EncodeToString(b[:]))
	}
	if err := s.named(ctx, ask.Facts); err != nil {
		return nil, err
	}
	i, err := incident.Begin(ask.ID, ask.Title, ask.Planned, plainFacts(ask.Facts), id.Person, now)
	if err != nil {
		return nil, err
	}
	if i, err = s.d.Store.OpenIncident(ctx, id.Name, i); err != nil {
		return nil, err
	}
	return answer(s.look(ctx, i, wire.Fresh))
}

func plainFacts(f incident.Facts) incident.Facts {
	f.DisruptedAt, f.DetectedAt = utc(f.DisruptedAt), utc(f.DetectedAt)
	return f
}

// named refuses units that the estate has not: a slip would make a disruption of nothing. Systems may be such as are in no manifest.
func (s *Server) named(ctx context.Context, f incident.Facts) error {
	if len(f.Units) == 0 {
		return nil
	}
	groups, err := s.d.Store.Groups(ctx, wire.Fresh)
	if err != nil {
		return err
	}
	for _, u := range f.Units {
		if !slices.ContainsFunc(groups, func(g wire.Group) bool { return slices.Contains(g.Record.Units, u) }) {
			return errs.New(errs.NotFound, "there is no unit %q; perdure status lists them", u)
		}
	}
	return nil
}

type incidentsInput struct {
	Open bool `query:"open" doc:"only those that are not closed"`
	Paging
	Freshness
}

func (s *Server) listIncidents(ctx context.Context, in *incidentsInput) (*page[incident.View], error) {
	list, err := s.d.Store.Incidents(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	if in.Open {
		list = slices.DeleteFunc(list, func(i incident.Incident) bool { return i.Phase == incident.Over || i.Phase == incident.Joined })
	}
	found, err := pageOf(ctx, in.Paging, list, func(i incident.Incident) place { return place{i.OpenedAt.UnixMilli(), i.ID} })
	if err != nil {
		return nil, err
	}
	out := &page[incident.View]{Link: found.Link, Body: []incident.View{}}
	for _, i := range found.Body {
		v, err := s.look(ctx, i, in.Read)
		if err != nil {
			return nil, err
		}
		out.Body = append(out.Body, v)
	}
	return out, nil
}

type incidentInput struct {
	Incident string `path:"incident"`
	Freshness
}

func (s *Server) getIncident(ctx context.Context, in *incidentInput) (*body[incident.View], error) {
	return answer(s.wholeIncident(ctx, in.Incident, in.Read))
}

// wholeIncident says how an incident stands now, and which functions it affects by the applied manifest.
func (s *Server) wholeIncident(ctx context.Context, id string, r wire.Read) (incident.View, error) {
	i, err := s.d.Store.Incident(ctx, id, r)
	if err != nil {
		return incident.View{}, err
	}
	v, err := s.look(ctx, i, r)
	if err != nil {
		return v, err
	}
	v.Functions, err = s.functionsOf(ctx, v.Affected, r)
	return v, err
}

// functionsOf gives the functions that systems serve, and those of units; none where this node reads no manifest, or cannot.
func (s *Server) functionsOf(ctx context.Context, f incident.Facts, r wire.Read) ([]string, error) {
	if s.d.Plans == nil {
		return nil, nil
	}
	m, err := s.d.Store.Manifest(ctx, r)
	if err != nil {
		return nil, err
	}
	set, err := s.d.Plans.Estate(m.Text)
	if err != nil {
		s.d.Logger.Warn("the manifest cannot be read: affected functions are not known", "err", err)
		return nil, nil
	}
	affected := slices.Clone(f.Systems)
	for _, system := range set.Systems {
		if slices.ContainsFunc(system.Units, func(u manifest.Unit) bool { return slices.Contains(f.Units, u.Name) }) {
			affected = append(affected, system.Name)
		}
	}
	var out []string
	for _, one := range set.Functions {
		if !slices.ContainsFunc(one.Systems, func(id estate.SystemID) bool { return slices.Contains(affected, id) }) {
			continue
		}
		name := one.Name
		if one.Title != "" {
			name += " – " + one.Title
		}
		out = append(out, name)
	}
	return out, nil
}

type incidentReportInput struct {
	Incident string `path:"incident"`
	Format   string `query:"format" enum:"html,docx,xlsx" default:"html"`
	Lang     string `query:"lang" enum:"en,zh-CN" default:"en"`
	Zone     string `query:"zone" default:"UTC" doc:"time zone of all times: a name such as Asia/Shanghai, or an offset such as +08:00"`
}

func (s *Server) incidentReport(ctx huma.Context, in *incidentReportInput) {
	r, w := humago.Unwrap(ctx)
	file, err := s.incidentReportOf(ctx.Context(), in)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	sendFile(w, in.Incident, in.Format, file)
}

func (s *Server) incidentReportOf(ctx context.Context, in *incidentReportInput) ([]byte, error) {
	zone, err := zoneOf(in.Zone)
	if err != nil {
		return nil, err
	}
	v, err := s.wholeIncident(ctx, in.Incident, wire.Fresh)
	if err != nil {
		return nil, err
	}
	var linked []document.LinkedRun
	for _, id := range v.AllRuns() {
		head, err := s.d.Store.Run(ctx, id, wire.Fresh)
		if errs.KindOf(err) == errs.NotFound && who(ctx).Tenant != "" {
			continue // a run of the platform's own, for several tenants
		}
		if err != nil {
			return nil, err
		}
		one := document.LinkedRun{ID: id, Plan: head.Plan, Mode: head.Mode, Outcome: head.Outcome, Started: time.UnixMilli(head.StartedAt)}
		if head.Phase == run.Over {
			one.Ended = time.UnixMilli(head.FinishedAt)
		}
		linked = append(linked, one)
	}
	return document.Incident(v, linked, document.Language(in.Lang), zone).File(document.Format(in.Format))
}

type incidentWordInput struct {
	Incident string `path:"incident"`
	Body     wire.IncidentWord
}

func (s *Server) sayToIncident(ctx context.Context, in *incidentWordInput) (*body[incident.View], error) {
	id, word := who(ctx), in.Body
	if err := s.maySayToIncident(ctx, id, in.Incident, word); err != nil {
		return nil, err
	}
	c := incident.Change{What: word.What, By: id.Person, Text: word.Text, Task: word.Task, Class: word.Class, When: utc(word.When), Run: word.Run, Switch: word.Switch, Into: word.Into}
	say := s.d.Store.SayIncident
	switch word.What {
	case incident.Declare:
		rules, err := s.rules(ctx, wire.Fresh)
		if err != nil {
			return nil, err
		}
		c.Rules = &rules
	case incident.Correct:
		if word.Facts != nil {
			facts := plainFacts(*word.Facts)
			c.Facts = &facts
			if err := s.named(ctx, facts); err != nil {
				return nil, err
			}
		}
	case incident.Link:
		if err := s.linkable(ctx, word); err != nil {
			return nil, err
		}
	case incident.Classify, incident.Done, incident.Waive, incident.Restore, incident.Review, incident.Close:
	case incident.Join:
		say = s.d.Store.JoinIncident
	}
	i, err := say(ctx, in.Incident, c)
	if err != nil {
		return nil, err
	}
	return answer(s.look(ctx, i, wire.Fresh))
}

type periodInput struct {
	From  time.Time `query:"from" doc:"when the period begins; by default 30 days before its end"`
	Until time.Time `query:"until" doc:"when it ends; by default now, and never later"`
	Freshness
}

// usualPeriod is that of an availability of which nobody says since when.
const usualPeriod = 30 * 24 * time.Hour

func (s *Server) availability(ctx context.Context, in *periodInput) (*body[[]incident.Availability], error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	from, until := in.From.UTC(), in.Until.UTC()
	if in.Until.IsZero() || until.After(now) {
		until = now
	}
	if in.From.IsZero() {
		from = until.Add(-usualPeriod)
	}
	if !from.Before(until) {
		return nil, errs.New(errs.Invalid, "a period begins before it ends, and before now: %s is not before %s", from.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	groups, err := s.d.Store.Groups(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	var records []unit.Record
	var gaps []incident.Gap
	for _, g := range groups {
		records = append(records, g.Record)
		more, err := s.d.Store.Gaps(ctx, g.Record.Group, in.Read)
		if err != nil {
			return nil, err
		}
		gaps = append(gaps, more...)
	}
	list, err := s.d.Store.Incidents(ctx, in.Read)
	if err != nil {
		return nil, err
	}
	wholes := map[string]*incident.View{}
	for _, i := range list {
		if len(i.Parts) > 0 {
			v, err := s.look(ctx, i, in.Read)
			if err != nil {
				return nil, err
			}
			wholes[i.ID] = &v
		}
	}
	var views []incident.View
	for _, i := range list {
		v, err := s.look(ctx, i.Alone(), in.Read) // each disrupted what it affects itself, for as long as that took
		if err != nil {
			return nil, err
		}
		if i.Into != nil {
			v.PartOf(wholes[i.Into.Value])
		}
		views = append(views, v)
	}
	return &body[[]incident.Availability]{append([]incident.Availability{}, incident.Served(from, until, records, gaps, views)...)}, nil
}

// linkable refuses a run or a group that is not there: what is linked is measured.
func (s *Server) linkable(ctx context.Context, word wire.IncidentWord) error {
	if word.Run != "" {
		head, err := s.d.Store.Run(ctx, word.Run, wire.Fresh)
		if err == nil && head.Tabletop {
			err = errs.New(errs.Invalid, "run %s is a tabletop: it belongs to no incident", word.Run)
		}
		return err
	}
	if word.Switch == nil {
		return nil
	}
	_, err := s.d.Store.Group(ctx, word.Switch.Group, wire.Fresh)
	return err
}

// maySayToIncident judges whether a person may say something to an incident, as far as that follows from who they are. No word waits for a second
// factor: to report must not.
func (s *Server) maySayToIncident(ctx context.Context, id identity, name string, word wire.IncidentWord) error {
	need := Operator
	switch word.What {
	case incident.Declare, incident.Correct, incident.Restore, incident.Link, incident.Close, incident.Join:
	case incident.Classify, incident.Waive:
		need = Commander
	case incident.Review:
		if id.has(Auditor) {
			return nil
		}
		need = Commander
	case incident.Done:
		if id.has(Operator) {
			return nil
		}
		i, err := s.d.Store.Incident(ctx, name, wire.Fresh)
		if err != nil {
			return err
		}
		if i.Rules != nil && slices.ContainsFunc(i.Rules.Tasks, func(t incident.Task) bool { return t.Name == word.Task && id.owns(t) }) {
			return nil
		}
	default:
		return errs.New(errs.Invalid, "%q is not something that people say to an incident; allowed: %v", word.What, incident.Whats())
	}
	if !id.has(need) {
		return errs.New(errs.Forbidden, "%s may not say %q to an incident: it needs role %s", id.Name, word.What, need)
	}
	return nil
}

// owns reports whether a task is a person's: by name, or by a role.
func (i identity) owns(t incident.Task) bool { return t.Owner == i.Person || i.holds(t.Owner) }

func (i identity) holds(role string) bool {
	return Access(role) != Participant && slices.Contains(wire.Roles(), wire.Role(role)) && i.has(Access(role))
}

// incidentsFor gives what incidents wait for a person for.
func (s *Server) incidentsFor(ctx context.Context, id identity) ([]wire.InboxItem, error) {
	list, err := s.d.Store.Incidents(ctx, wire.Fresh)
	if err != nil {
		return nil, err
	}
	var items []wire.InboxItem
	for _, i := range list {
		if i.Phase == incident.Over || i.Phase == incident.Joined {
			continue
		}
		v, err := s.look(ctx, i, wire.Fresh)
		if err != nil {
			return nil, err
		}
		for _, a := range v.WaitsFor(incident.Person{Name: id.Person, Holds: id.holds, Steers: id.has(Operator), Reviews: id.has(Auditor) || id.has(Commander)}) {
			items = append(items, wire.InboxItem{Incident: i.ID, Due: a.Due, Ask: run.Ask{Why: run.Why(a.Why), Step: a.Task, For: a.For, Text: a.Text, Since: a.Since}})
		}
	}
	return items, nil
}

// incidentOf gives the incident that a run is started for. Only what takes service over, or gives it back, is linked so.
func (s *Server) incidentOf(ctx context.Context, ask wire.StartRun) (incident.Incident, error) {
	if ask.Incident == "" && ask.Declare == "" {
		return incident.Incident{}, nil
	}
	if !slices.Contains([]plan.Mode{plan.Takeover, plan.Emergency, plan.SwitchBack}, ask.Mode) {
		return incident.Incident{}, errs.New(errs.Invalid, "a run in mode %s belongs to no incident; modes takeover, emergency and switch-back may", ask.Mode)
	}
	if ask.Incident == "" {
		return incident.Incident{}, nil
	}
	i, err := s.d.Store.Incident(ctx, ask.Incident, wire.Fresh)
	if err == nil && i.Phase == incident.Over {
		err = errs.Refuse("N4", "incident %s is closed: no run belongs to it any more", i.ID)
	}
	if err == nil && i.Phase == incident.Joined {
		err = errs.Refuse("N6", "incident %s is part of %s: start the run for that one", i.ID, i.Into.Value)
	}
	return i, err
}

// incidentOfStart gives what a start says to the incident that it names, or that it opens.
func (s *Server) incidentOfStart(ctx context.Context, ask wire.StartRun, named incident.Incident, start wire.RunStart, person string) (*wire.RunIncident, error) {
	if ask.Incident == "" && ask.Declare == "" {
		return nil, nil
	}
	out := &wire.RunIncident{ID: ask.Incident}
	first := start.Journal[0]
	if out.ID == "" {
		out.ID = start.Head.ID + ".incident"
		about := calendar.AskOf(start.Program, first.Params)
		facts := incident.Facts{Units: about.Units, DisruptedAt: first.DisruptedAt, DetectedAt: first.DetectedAt}
		if about.System != "" {
			facts.Systems = []estate.SystemID{about.System}
		}
		i, err := incident.Begin(out.ID, ask.Declare, ask.Mode != plan.Emergency, facts, person, first.At)
		if err != nil {
			return nil, errs.New(errs.KindOf(err), "cannot declare what plan %s is about: %w (perdure incident open, and start with --incident)", start.Program.Plan, err)
		}
		i.Tenant = start.Head.Tenant
		out.Open = &i
	}
	if ask.Declare != "" && named.Declared == nil {
		rules, err := s.rules(ctx, wire.Fresh)
		if err != nil {
			return nil, err
		}
		out.Said = append(out.Said, incident.Change{What: incident.Declare, By: person, Text: ask.Declare, Rules: &rules})
	}
	out.Said = append(out.Said, incident.Change{What: incident.Link, By: person, Run: start.Head.ID})
	return out, nil
}
