package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"perdure/internal/ballot"
	"perdure/internal/calendar"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/rectification"
	"perdure/internal/run"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Reach says whose people a route is for, where there are several institutions on the platform.
type Reach string

// The closed list of reaches.
const (
	// Everybody: what a path names is looked at before the handler is, and a handler has all that it reads and writes of the scoped store.
	Everybody Reach = "everybody"
	// PlatformOnly: it is about the platform as a whole, which people of a tenant have no part in (T4).
	PlatformOnly Reach = "platform"
)

// within refuses who asks for what is not their tenant's: of that they are told the same, whether it is there or not (T3).
func (s *Server) within(ctx huma.Context, id identity) error {
	if id.Tenant == "" {
		return nil
	}
	with := context.WithValue(ctx.Context(), identityKey{}, id)
	if ctx.Operation().Metadata["reach"] != Everybody {
		return platformOnly(with)
	}
	for _, name := range pathNames(ctx.Operation().Path) {
		if err := s.mine(with, name, ctx.Param(name)); err != nil {
			return err
		}
	}
	return nil
}

// pathNames gives the names of what stands in a path.
func pathNames(path string) []string {
	var names []string
	for part := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// mine looks whether what a path names is the tenant's.
func (s *Server) mine(ctx context.Context, name, value string) error {
	var err error
	switch name {
	case "run":
		_, err = s.d.Store.Run(ctx, value, wire.Local)
		if errs.KindOf(err) == errs.NotFound { // one that has just begun may not have come here yet
			_, err = s.d.Store.Run(ctx, value, wire.Fresh)
		}
	case "group":
		_, err = s.d.Store.Group(ctx, estate.GroupID(value), wire.Local)
	case "unit":
		_, err = s.groupOf(ctx, estate.UnitID(value))
	case "incident":
		_, err = s.d.Store.Incident(ctx, value, wire.Fresh)
	case "plan":
		err = s.minePlan(ctx, value)
	case "system", "site", "id", "key", "sha256", "member", "user", "name":
		// A handler reads these of the scoped store, or of the person's own.
	default:
		err = errs.New(errs.Internal, "nobody has said whose a %s is", name)
	}
	return err
}

// minePlan: the product's own plans are everybody's; what they act on is looked at where it is known.
func (s *Server) minePlan(ctx context.Context, name string) error {
	if plan.IsBuiltIn(name) {
		return nil
	}
	tenant := who(ctx).Tenant
	p, _, err := s.scoped.part(ctx, tenant, wire.Local)
	if err == nil && !slices.ContainsFunc(p.Plans, func(one plan.Plan) bool { return one.Name == name }) {
		err = notThere("plan", name, tenant)
	}
	return err
}

// scoped is the store as who asks may see and change it: all of it for the platform's own people and for machines, and for people of a tenant
// what is the tenant's (T3). What is embedded is the same for everybody; a test holds the two lists against the interface.
type scoped struct {
	Store
	plans Plans
	parts read[*parts]
}

// parts are a manifest and what of it is whose.
type parts struct {
	whole manifest.Set
	mu    sync.Mutex
	of    map[estate.TenantID]*part
}

// part is what of a manifest is a tenant's, and the same as text.
type part struct {
	manifest.Set
	text string
}

// known gives the applied manifest as far as this version can read it: what it cannot is nobody's, and keeps nobody from the rest.
func (s *scoped) known(ctx context.Context, r wire.Read) (*parts, wire.Manifest, error) {
	m, err := s.Store.Manifest(ctx, r)
	if err != nil {
		return nil, m, err
	}
	if s.plans == nil {
		return nil, m, errs.New(errs.Unavailable, "this node reads no manifests, and cannot say what is whose")
	}
	p, err := s.parts.get(m, func(text string) (*parts, error) {
		return &parts{whole: s.plans.Known(text), of: map[estate.TenantID]*part{}}, nil
	})
	return p, m, err
}

// tenantOf gives whose system a unit belongs to; false: nobody has declared it.
func (s *scoped) tenantOf(ctx context.Context, id estate.UnitID) (estate.TenantID, bool, error) {
	p, _, err := s.known(ctx, wire.Fresh)
	if err != nil {
		return "", false, err
	}
	of, ok := p.whole.TenantOf(id)
	return of, ok, nil
}

// part gives what of the applied manifest is the tenant's.
func (s *scoped) part(ctx context.Context, tenant estate.TenantID, r wire.Read) (*part, wire.Manifest, error) {
	p, m, err := s.known(ctx, r)
	if err != nil {
		return nil, m, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[tenant] == nil {
		theirs := p.whole.Of(tenant)
		p.of[tenant] = &part{theirs, string(manifest.Export(theirs))}
	}
	return p.of[tenant], m, nil
}

func notThere(what, name string, tenant estate.TenantID) error {
	return errs.New(errs.NotFound, "tenant %s has no %s %q", tenant, what, name)
}

// Manifest gives the tenant's part of the manifest.
func (s *scoped) Manifest(ctx context.Context, r wire.Read) (wire.Manifest, error) {
	tenant := who(ctx).Tenant
	if tenant == "" {
		return s.Store.Manifest(ctx, r)
	}
	p, m, err := s.part(ctx, tenant, r)
	if err != nil {
		return wire.Manifest{}, err
	}
	m.Text, m.Tenant = p.text, tenant
	return m, nil
}

// ApplyManifest is for the platform's own people.
func (s *scoped) ApplyManifest(ctx context.Context, who, text string, revision int64, groups []wire.Group, plan wire.ManifestPlan) (wire.Manifest, error) {
	if err := platformOnly(ctx); err != nil {
		return wire.Manifest{}, err
	}
	return s.Store.ApplyManifest(ctx, who, text, revision, groups, plan)
}

// WindowApprovals are those of windows that the tenant sees.
func (s *scoped) WindowApprovals(ctx context.Context, r wire.Read) (calendar.Approvals, int64, error) {
	all, revision, err := s.Store.WindowApprovals(ctx, r)
	tenant := who(ctx).Tenant
	if tenant == "" || err != nil {
		return all, revision, err
	}
	p, _, err := s.part(ctx, tenant, r)
	if err != nil {
		return nil, 0, err
	}
	theirs := calendar.Digests(p.Calendars)
	maps.DeleteFunc(all, func(name string, _ calendar.Approved) bool { _, ok := theirs[name]; return !ok })
	return all, revision, nil
}

// ApproveWindow is for the platform's own people.
func (s *scoped) ApproveWindow(ctx context.Context, revision int64, window, digest string, by calendar.Approval) (calendar.Approved, error) {
	if err := platformOnly(ctx); err != nil {
		return calendar.Approved{}, err
	}
	return s.Store.ApproveWindow(ctx, revision, window, digest, by)
}

// RevokeWindow is for the platform's own people.
func (s *scoped) RevokeWindow(ctx context.Context, by, window, reason string) error {
	if err := platformOnly(ctx); err != nil {
		return err
	}
	return s.Store.RevokeWindow(ctx, by, window, reason)
}

func platformOnly(ctx context.Context) error {
	if id := who(ctx); id.Tenant != "" {
		return errs.New(errs.Forbidden, "%s is of tenant %s, and this is about the platform as a whole", id.Name, id.Tenant)
	}
	return nil
}

// Group gives a group of the tenant.
func (s *scoped) Group(ctx context.Context, group estate.GroupID, r wire.Read) (wire.Group, error) {
	g, err := s.Store.Group(ctx, group, r)
	tenant := who(ctx).Tenant
	if tenant == "" || err != nil && errs.KindOf(err) != errs.NotFound {
		return g, err
	}
	p, _, failed := s.part(ctx, tenant, r)
	switch {
	case failed != nil:
		return wire.Group{}, failed
	case err != nil || p.System(g.Record.System) == nil:
		return wire.Group{}, notThere("group", string(group), tenant)
	}
	return g, nil
}

// Groups gives those of the tenant.
func (s *scoped) Groups(ctx context.Context, r wire.Read) ([]wire.Group, error) {
	all, err := s.Store.Groups(ctx, r)
	return ofSystems(ctx, s, r, all, err, func(g wire.Group) estate.SystemID { return g.Record.System })
}

// ofSystems leaves in a list what is of the tenant's systems.
func ofSystems[T any](ctx context.Context, s *scoped, r wire.Read, all []T, err error, system func(T) estate.SystemID) ([]T, error) {
	tenant := who(ctx).Tenant
	if tenant == "" || err != nil {
		return all, err
	}
	p, _, err := s.part(ctx, tenant, r)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(one T) bool { return p.System(system(one)) == nil }), nil
}

// Transition changes a group of the tenant.
func (s *scoped) Transition(ctx context.Context, by string, group estate.GroupID, revision int64, t unit.Transition) (wire.Group, error) {
	if err := s.hasGroup(ctx, group); err != nil {
		return wire.Group{}, err
	}
	return s.Store.Transition(ctx, by, group, revision, t)
}

func (s *scoped) hasGroup(ctx context.Context, group estate.GroupID) error {
	if who(ctx).Tenant == "" {
		return nil
	}
	_, err := s.Group(ctx, group, wire.Local)
	return err
}

// Divergences are of a group of the tenant.
func (s *scoped) Divergences(ctx context.Context, group estate.GroupID, r wire.Read) ([]wire.Divergence, error) {
	if err := s.hasGroup(ctx, group); err != nil {
		return nil, err
	}
	return s.Store.Divergences(ctx, group, r)
}

// Gaps are of a group of the tenant.
func (s *scoped) Gaps(ctx context.Context, group estate.GroupID, r wire.Read) ([]incident.Gap, error) {
	if err := s.hasGroup(ctx, group); err != nil {
		return nil, err
	}
	return s.Store.Gaps(ctx, group, r)
}

// Instances are those of the tenant's systems.
func (s *scoped) Instances(ctx context.Context, r wire.Read) ([]wire.Instance, error) {
	all, err := s.Store.Instances(ctx, r)
	return ofSystems(ctx, s, r, all, err, func(i wire.Instance) estate.SystemID { return i.System })
}

// PutInstance registers one of a system of the tenant.
func (s *scoped) PutInstance(ctx context.Context, i wire.Instance) (wire.Instance, error) {
	if err := s.hasSystem(ctx, i.System); err != nil {
		return wire.Instance{}, err
	}
	return s.Store.PutInstance(ctx, i)
}

// DeleteInstance ends the registration of one of a system of the tenant.
func (s *scoped) DeleteInstance(ctx context.Context, system estate.SystemID, site estate.SiteID, id string) error {
	if err := s.hasSystem(ctx, system); err != nil {
		return err
	}
	return s.Store.DeleteInstance(ctx, system, site, id)
}

func (s *scoped) hasSystem(ctx context.Context, system estate.SystemID) error {
	tenant := who(ctx).Tenant
	if tenant == "" {
		return nil
	}
	p, _, err := s.part(ctx, tenant, wire.Local)
	if err == nil && p.System(system) == nil {
		err = notThere("system", string(system), tenant)
	}
	return err
}

// Acks are what gateways, which all share, acknowledged; what else they say is of all systems, and for the platform's own people.
func (s *scoped) Acks(ctx context.Context, r wire.Read) ([]wire.Ack, error) {
	all, err := s.Store.Acks(ctx, r)
	if who(ctx).Tenant != "" {
		for i := range all {
			all[i].Status = nil
		}
	}
	return all, err
}

// MemberStatuses are of members of the tenant's groups.
func (s *scoped) MemberStatuses(ctx context.Context, r wire.Read) ([]wire.MemberStatus, error) {
	all, err := s.Store.MemberStatuses(ctx, r)
	if who(ctx).Tenant == "" || err != nil {
		return all, err
	}
	groups, err := s.Groups(ctx, r)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m wire.MemberStatus) bool { return !hasMember(groups, m.Member) }), nil
}

func hasMember(groups []wire.Group, id estate.MemberID) bool {
	return slices.ContainsFunc(groups, func(g wire.Group) bool { _, ok := g.Record.Member(id); return ok })
}

// Events are for the platform's own people: an entry may be of anybody.
func (s *scoped) Events(ctx context.Context, after int64, limit int, newest bool, r wire.Read) ([]wire.Event, error) {
	if err := platformOnly(ctx); err != nil {
		return nil, err
	}
	return s.Store.Events(ctx, after, limit, newest, r)
}

// Tokens are those of the tenant's people and of the platform's own, who serve it too.
func (s *scoped) Tokens(ctx context.Context, r wire.Read) ([]wire.Token, error) {
	all, err := s.Store.Tokens(ctx, r)
	return ofPeople(ctx, all, err, func(t wire.Token) estate.TenantID { return t.Tenant })
}

// Users are the tenant's people and the platform's own, who serve it too.
func (s *scoped) Users(ctx context.Context, r wire.Read) ([]wire.User, error) {
	all, err := s.Store.Users(ctx, r)
	return ofPeople(ctx, all, err, func(u wire.User) estate.TenantID { return u.Tenant })
}

func ofPeople[T any](ctx context.Context, all []T, err error, of func(T) estate.TenantID) ([]T, error) {
	tenant := who(ctx).Tenant
	if tenant == "" {
		return all, err
	}
	return slices.DeleteFunc(all, func(one T) bool { return of(one) != "" && of(one) != tenant }), err
}

// SignerOf gives whose a key is, of the tenant's people and of the platform's own.
func (s *scoped) SignerOf(ctx context.Context, id ballot.KeyID) (wire.User, wire.SigningKey, error) {
	u, key, err := s.Store.SignerOf(ctx, id)
	if tenant := who(ctx).Tenant; err == nil && tenant != "" && u.Tenant != "" && u.Tenant != tenant {
		return wire.User{}, wire.SigningKey{}, notThere("key", fmt.Sprint(id), tenant)
	}
	return u, key, err
}

// Run gives a run of the tenant.
func (s *scoped) Run(ctx context.Context, id string, r wire.Read) (wire.Run, error) {
	head, err := s.Store.Run(ctx, id, r)
	tenant := who(ctx).Tenant
	if tenant != "" && (err == nil && head.Tenant != tenant || errs.KindOf(err) == errs.NotFound) {
		return wire.Run{}, notThere("run", id, tenant)
	}
	return head, err
}

// Runs gives those of the tenant.
func (s *scoped) Runs(ctx context.Context, r wire.Read) ([]wire.Run, error) {
	all, err := s.Store.Runs(ctx, r)
	tenant := who(ctx).Tenant
	if tenant == "" {
		return all, err
	}
	return slices.DeleteFunc(all, func(head wire.Run) bool { return head.Tenant != tenant }), err
}

// hasRun looks at the newest of it: whose a run is never changes.
func (s *scoped) hasRun(ctx context.Context, id string) error {
	if who(ctx).Tenant == "" {
		return nil
	}
	_, err := s.Run(ctx, id, wire.Fresh)
	return err
}

// ofRun asks the store about a run of the tenant.
func ofRun[T any](ctx context.Context, s *scoped, id string, ask func() (T, error)) (T, error) {
	if err := s.hasRun(ctx, id); err != nil {
		var none T
		return none, err
	}
	return ask()
}

// CreateRun starts a run of the tenant.
func (s *scoped) CreateRun(ctx context.Context, start wire.RunStart) (wire.Run, error) {
	if tenant := who(ctx).Tenant; tenant != "" && start.Head.Tenant != tenant {
		return wire.Run{}, notThere("plan", start.Head.Plan, tenant)
	}
	return s.Store.CreateRun(ctx, start)
}

// Program is that of a run of the tenant.
func (s *scoped) Program(ctx context.Context, id string) (*plan.Program, error) {
	return ofRun(ctx, s, id, func() (*plan.Program, error) { return s.Store.Program(ctx, id) })
}

// Journal is that of a run of the tenant.
func (s *scoped) Journal(ctx context.Context, id string, after int) ([]run.Entry, error) {
	return ofRun(ctx, s, id, func() ([]run.Entry, error) { return s.Store.Journal(ctx, id, after) })
}

// Say says something to a run of the tenant.
func (s *scoped) Say(ctx context.Context, id string, e run.Entry) (wire.Run, error) {
	return ofRun(ctx, s, id, func() (wire.Run, error) { return s.Store.Say(ctx, id, e) })
}

// PutAttachment keeps a file of a run of the tenant.
func (s *scoped) PutAttachment(ctx context.Context, id string, a wire.KeptAttachment, data []byte) (wire.KeptAttachment, error) {
	return ofRun(ctx, s, id, func() (wire.KeptAttachment, error) { return s.Store.PutAttachment(ctx, id, a, data) })
}

// Attachments are of a run of the tenant.
func (s *scoped) Attachments(ctx context.Context, id, sum string) ([]wire.KeptAttachment, error) {
	return ofRun(ctx, s, id, func() ([]wire.KeptAttachment, error) { return s.Store.Attachments(ctx, id, sum) })
}

// AttachmentData is of a run of the tenant.
func (s *scoped) AttachmentData(ctx context.Context, id, sum string) ([]byte, error) {
	return ofRun(ctx, s, id, func() ([]byte, error) { return s.Store.AttachmentData(ctx, id, sum) })
}

// Armed are runs of the tenant's plans.
func (s *scoped) Armed(ctx context.Context, r wire.Read) ([]measure.Armed, error) {
	all, err := s.Store.Armed(ctx, r)
	tenant := who(ctx).Tenant
	if tenant == "" || err != nil {
		return all, err
	}
	p, _, err := s.part(ctx, tenant, r)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(a measure.Armed) bool {
		return !slices.ContainsFunc(p.Plans, func(one plan.Plan) bool { return one.Name == a.Plan })
	}), nil
}

// OrderHead is of a run of the tenant.
func (s *scoped) OrderHead(ctx context.Context, id string, r wire.Read) (heldorder.Head, error) {
	return ofRun(ctx, s, id, func() (heldorder.Head, error) { return s.Store.OrderHead(ctx, id, r) })
}

// Orders are of a run of the tenant.
func (s *scoped) Orders(ctx context.Context, id string) (*heldorder.Ledger, error) {
	return ofRun(ctx, s, id, func() (*heldorder.Ledger, error) { return s.Store.Orders(ctx, id) })
}

// OrderWords are of a run of the tenant.
func (s *scoped) OrderWords(ctx context.Context, id string) ([]byte, error) {
	return ofRun(ctx, s, id, func() ([]byte, error) { return s.Store.OrderWords(ctx, id) })
}

// SayOrders says something to the orders of a run of the tenant.
func (s *scoped) SayOrders(ctx context.Context, id, by string, w heldorder.Word, line func(int) int, dry bool) (*heldorder.Ledger, heldorder.Word, error) {
	if err := s.hasRun(ctx, id); err != nil {
		return nil, heldorder.Word{}, err
	}
	return s.Store.SayOrders(ctx, id, by, w, line, dry)
}

// OpenSheet opens the sheet of a run of the tenant.
func (s *scoped) OpenSheet(ctx context.Context, by string, sheet rectification.Sheet) (rectification.Sheet, error) {
	return ofRun(ctx, s, sheet.Run, func() (rectification.Sheet, error) { return s.Store.OpenSheet(ctx, by, sheet) })
}

// Sheet is that of a run of the tenant.
func (s *scoped) Sheet(ctx context.Context, id string, r wire.Read) (rectification.Sheet, error) {
	return ofRun(ctx, s, id, func() (rectification.Sheet, error) { return s.Store.Sheet(ctx, id, r) })
}

// Sheets are of runs of the tenant.
func (s *scoped) Sheets(ctx context.Context, r wire.Read) ([]rectification.Sheet, error) {
	all, err := s.Store.Sheets(ctx, r)
	if who(ctx).Tenant == "" || err != nil {
		return all, err
	}
	runs, err := s.Runs(ctx, r)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(one rectification.Sheet) bool {
		return !slices.ContainsFunc(runs, func(head wire.Run) bool { return head.ID == one.Run })
	}), nil
}

// SaySheet says something to the sheet of a run of the tenant. A re-test is one too.
func (s *scoped) SaySheet(ctx context.Context, id string, c rectification.Change) (rectification.Sheet, error) {
	if err := s.hasRun(ctx, id); err != nil {
		return rectification.Sheet{}, err
	}
	if c.Run != "" {
		if err := s.hasRun(ctx, c.Run); err != nil {
			return rectification.Sheet{}, err
		}
	}
	return s.Store.SaySheet(ctx, id, c)
}

// seen reports whether an incident is the tenant's: it is theirs by name, or the platform's own about their systems and units alone.
func (p *part) seen(i incident.Incident) bool {
	facts := i.All()
	names := len(facts.Systems) + len(facts.Units)
	return i.Tenant == p.tenant() && i.Tenant != "" || i.Tenant == "" && names > 0 && p.hasAll(facts)
}

// tenant is whose part it is.
func (p *part) tenant() estate.TenantID {
	if len(p.Tenants) == 0 {
		return "" // the manifest does not name it any more
	}
	return p.Tenants[0].Name
}

func (p *part) hasAll(f incident.Facts) bool {
	return !slices.ContainsFunc(f.Systems, func(id estate.SystemID) bool { return p.System(id) == nil }) &&
		!slices.ContainsFunc(f.Units, func(id estate.UnitID) bool { _, ok := p.TenantOf(id); return !ok })
}

// named refuses an incident about what is not the tenant's: it would be a disruption of somebody else's.
func (s *scoped) named(ctx context.Context, f incident.Facts) error {
	tenant := who(ctx).Tenant
	if tenant == "" {
		return nil
	}
	p, _, err := s.part(ctx, tenant, wire.Fresh)
	if err == nil && !p.hasAll(f) {
		err = errs.New(errs.NotFound, "an incident of tenant %s is about its own systems and units: it has not all of %v %v", tenant, f.Systems, f.Units)
	}
	return err
}

// OpenIncident opens one of the tenant.
func (s *scoped) OpenIncident(ctx context.Context, by string, i incident.Incident) (incident.Incident, error) {
	if err := s.named(ctx, i.Facts); err != nil {
		return incident.Incident{}, err
	}
	i.Tenant = who(ctx).Tenant
	if have, err := s.Store.Incident(ctx, i.ID, wire.Fresh); err == nil && have.Tenant != i.Tenant {
		return incident.Incident{}, errs.New(errs.Conflict, "the name %s is taken: choose another one", i.ID)
	}
	return s.Store.OpenIncident(ctx, by, i)
}

// Incident gives one of the tenant.
func (s *scoped) Incident(ctx context.Context, id string, r wire.Read) (incident.Incident, error) {
	i, err := s.Store.Incident(ctx, id, r)
	tenant := who(ctx).Tenant
	if tenant == "" || err != nil && errs.KindOf(err) != errs.NotFound {
		return i, err
	}
	p, _, failed := s.part(ctx, tenant, r)
	switch {
	case failed != nil:
		return incident.Incident{}, failed
	case err != nil || !p.seen(i):
		return incident.Incident{}, notThere("incident", id, tenant)
	}
	return i, nil
}

// Incidents gives those of the tenant.
func (s *scoped) Incidents(ctx context.Context, r wire.Read) ([]incident.Incident, error) {
	all, err := s.Store.Incidents(ctx, r)
	tenant := who(ctx).Tenant
	if tenant == "" || err != nil {
		return all, err
	}
	p, _, err := s.part(ctx, tenant, r)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(i incident.Incident) bool { return !p.seen(i) }), nil
}

// SayIncident says something to an incident of the tenant, about what is the tenant's.
func (s *scoped) SayIncident(ctx context.Context, id string, c incident.Change) (incident.Incident, error) {
	if err := s.mayChange(ctx, id, c); err != nil {
		return incident.Incident{}, err
	}
	return s.Store.SayIncident(ctx, id, c)
}

// JoinIncident joins two of the tenant.
func (s *scoped) JoinIncident(ctx context.Context, id string, c incident.Change) (incident.Incident, error) {
	if err := s.mayChange(ctx, id, c); err != nil {
		return incident.Incident{}, err
	}
	return s.Store.JoinIncident(ctx, id, c)
}

func (s *scoped) mayChange(ctx context.Context, id string, c incident.Change) error {
	if who(ctx).Tenant == "" {
		return nil
	}
	if _, err := s.Incident(ctx, id, wire.Fresh); err != nil {
		return err
	}
	if c.Into != "" {
		if _, err := s.Incident(ctx, c.Into, wire.Fresh); err != nil {
			return err
		}
	}
	if c.Run != "" {
		if err := s.hasRun(ctx, c.Run); err != nil {
			return err
		}
	}
	if c.Switch != nil {
		if err := s.hasGroup(ctx, c.Switch.Group); err != nil {
			return err
		}
	}
	if c.Facts != nil {
		return s.named(ctx, *c.Facts)
	}
	return nil
}

// Watch hands on what changes of the tenant's. That something is gone is handed on where its key says whose it was.
func (s *scoped) Watch(ctx context.Context, from wire.Position, prefixes []string, handle func(wire.Update) error) error {
	if who(ctx).Tenant == "" {
		return s.Store.Watch(ctx, from, prefixes, handle)
	}
	return s.Store.Watch(ctx, from, prefixes, func(u wire.Update) error {
		var kept []wire.Change
		for _, c := range u.Changes {
			c, ok, err := s.shown(ctx, c)
			if err != nil {
				return err
			}
			if ok {
				kept = append(kept, c)
			}
		}
		u.Changes = kept
		return handle(u)
	})
}

// shown gives a change as the tenant sees it; false: not at all.
func (s *scoped) shown(ctx context.Context, c wire.Change) (wire.Change, bool, error) {
	tenant := who(ctx).Tenant
	p, _, err := s.part(ctx, tenant, wire.Local)
	if err != nil {
		return c, false, err
	}
	kind, rest, _ := strings.Cut(c.Key, "/")
	switch kind {
	case "instances":
		system, _, _ := strings.Cut(rest, "/")
		return c, p.System(estate.SystemID(system)) != nil, nil
	case "members":
		groups, err := s.Groups(ctx, wire.Local)
		return c, hasMember(groups, estate.MemberID(rest)), err
	case "manifest":
		c.Value, err = json.Marshal(wire.Manifest{Revision: c.Revision, Tenant: tenant}) // that there is another one
		return c, err == nil, err
	}
	if c.Deleted {
		return c, false, nil
	}
	switch kind {
	case "groups":
		var record unit.Record
		err := json.Unmarshal(c.Value, &record)
		return c, err == nil && p.System(record.System) != nil, nil
	case "runs":
		var head wire.Run
		err := json.Unmarshal(c.Value, &head)
		return c, err == nil && head.Tenant == tenant, nil
	case "incidents":
		var i incident.Incident
		err := json.Unmarshal(c.Value, &i)
		return c, err == nil && p.seen(i), nil
	}
	return c, false, nil
}
