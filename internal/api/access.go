package api

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

// Access is who may use a route: a role, or a kind of machine. A route lists all that may.
type Access string

// The closed list of accesses. Roles include what they build on: an operator reads what a viewer reads. Role participant builds on none, and
// none builds on it.
const (
	Health Access = "health" // everybody, without credentials
	Anyone Access = "anyone" // everybody, without a token: who asks proves in the request who they are
	// Participant is of those who answer for a participant. Nobody else has it: a route that is also for them says so.
	Participant Access = Access(wire.Participant)

	Viewer    Access = Access(wire.Viewer)
	Driller   Access = Access(wire.Driller)
	Operator  Access = Access(wire.Operator)
	Commander Access = Access(wire.Commander)
	Auditor   Access = Access(wire.Auditor)
	Admin     Access = Access(wire.Admin)
	Agent     Access = "machine:agent"
	Gateway   Access = "machine:gateway"
	Node      Access = "machine:node"
	App       Access = "machine:app"
)

// ofPeople reports whether it is a role, and not a kind of machine.
func (a Access) ofPeople() bool {
	switch a {
	case Participant, Viewer, Driller, Operator, Commander, Auditor, Admin:
		return true
	case Health, Anyone, Agent, Gateway, Node, App:
	}
	return false
}

// grants says what each role may use beside its own.
func grants(role wire.Role) []Access {
	var has []Access
	for _, r := range role.Covers() {
		has = append(has, Access(r))
	}
	return has
}

// identity is who asks, as proven by a token or a certificate.
type identity struct {
	// Name is "person:ann" or "agent:u1-a"; it goes to the audit log.
	Name string
	// Person is set for people, Machine ("agent") and ID ("u1-a") for machines.
	Person string
	Roles  []wire.Role
	// Participant is the participant that the person belongs to, "" for none.
	Participant string
	// Tenant is the institution whose person they are; empty: the platform's own, and every machine.
	Tenant  estate.TenantID
	Machine string
	ID      string
	// Session is that of a person who logged in, "" for a token; Factor is when they showed the second factor.
	Session string
	Factor  time.Time
}

func (i identity) may(access []Access) bool {
	if i.Machine != "" {
		return slices.Contains(access, Access("machine:"+i.Machine))
	}
	return slices.ContainsFunc(access, i.has)
}

// has reports whether one of the person's roles includes the access.
func (i identity) has(a Access) bool {
	if a == Admin && i.Tenant != "" {
		return false // T4
	}
	return i.Machine == "" && slices.ContainsFunc(i.Roles, func(r wire.Role) bool { return slices.Contains(grants(r), a) })
}

type (
	identityKey struct{}
	urlKey      struct{}
	addressKey  struct{}
)

// addressOf is the host that the request comes from.
func addressOf(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}

// addressed is the URL of the request.
func addressed(ctx context.Context) url.URL {
	address, _ := ctx.Value(urlKey{}).(url.URL)
	return address
}

func who(ctx context.Context) identity {
	i, _ := ctx.Value(identityKey{}).(identity)
	return i
}

// accessOf gives the accesses that an operation of the table was registered with.
func accessOf(op *huma.Operation) []Access {
	access, _ := op.Metadata["access"].([]Access)
	return access
}

// admit lets a request through to its handler, or answers 401 or 403.
func (s *Server) admit(ctx huma.Context, next func(huma.Context)) {
	access := accessOf(ctx.Operation())
	ctx = huma.WithValue(ctx, urlKey{}, ctx.URL())
	if slices.Contains(access, Health) {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ctx = huma.WithValue(ctx, addressKey{}, host)
	over := s.d.Standing.Over()
	if slices.Contains(access, Anyone) {
		if over != nil {
			writeProblem(w, r, over)
			return
		}
		next(ctx)
		return
	}
	id, err := s.identify(r)
	if over != nil && (err != nil || !answersWhenOver(ctx.Operation().OperationID)) {
		err = over // what its store says of tokens, owners or routes holds no more
	}
	if err == nil && !id.may(access) {
		err = errs.New(errs.Forbidden, "%s may not %s %s: it needs the role %s", id.Name, r.Method, r.URL.Path, strings.ReplaceAll(join(access), ", ", " or "))
	}
	if err == nil {
		err = s.within(ctx, id)
	}
	if note, ok := w.(*recorder); ok {
		note.who = id.Name
	}
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	next(huma.WithValue(ctx, identityKey{}, id))
}

// answersWhenOver names what a node still answers when its part in the estate has ended: how it stands, and the
// last word of its watches. Everything else is for a node in force.
func answersWhenOver(operation string) bool {
	switch operation {
	case "metrics", "openapi", "standing", "watch", "live":
		return true
	}
	return false
}

func join(access []Access) string {
	words := make([]string, len(access))
	for i, a := range access {
		words[i] = string(a)
	}
	return strings.Join(words, ", ")
}

// identify proves who asks. A token wins over a certificate, so that a person on a machine is a person.
func (s *Server) identify(r *http.Request) (identity, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return identity{}, errs.New(errs.Unauthorised, "use Authorization: Bearer TOKEN")
		}
		c, err := s.d.Store.Authenticate(r.Context(), strings.TrimSpace(secret), r.Method == http.MethodGet)
		if err != nil {
			return identity{}, err
		}
		id := identity{Name: "person:" + c.Name, Person: c.Name, Roles: c.Roles, Participant: c.Participant, Tenant: c.Tenant, Session: c.Session}
		if c.Factor != 0 {
			id.Factor = time.UnixMilli(c.Factor).UTC()
		}
		return id, nil
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		name := r.TLS.VerifiedChains[0][0].Subject.CommonName
		machine, id, ok := strings.Cut(name, ":")
		if ok && id != "" && slices.Contains([]string{"agent", "gateway", "node", "app"}, machine) {
			return identity{Name: name, Machine: machine, ID: id}, nil
		}
		return identity{}, errs.New(errs.Unauthorised, "certificate %q is not one of agent:NAME, gateway:NAME, node:NAME, app:NAME", name)
	}
	return identity{}, errs.New(errs.Unauthorised, "show a bearer token or a certificate of the estate's authority")
}

// onlyItself refuses a machine that speaks for another one.
func (i identity) onlyItself(machine, id string) error {
	if i.Machine == machine && i.ID != id {
		return errs.New(errs.Forbidden, "%s may speak only for itself, not for %s:%s", i.Name, machine, id)
	}
	return nil
}

// memberOf gives the member an agent looks after.
func (i identity) memberOf() estate.MemberID { return estate.MemberID(i.ID) }
