// Package api is a node's HTTPS interface: one table of routes, each with the access it needs, and the handlers behind them.
//
// Nothing is open but the health probes. People show a bearer token and act under its name; machines show a certificate of the
// estate's authority and act only for themselves. The OpenAPI document is made from the same table (docs/openapi.json).
// Handlers decide nothing about ownership: they ask unit.Apply through the store, or the controller through Switcher.
package api

//go:generate go test . -run TestCommittedOpenAPIDocumentIsCurrent -update

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perdure/internal/estate"
	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Store is what the API needs of the control plane's state.
type Store interface {
	Group(ctx context.Context, group estate.GroupID, r wire.Read) (wire.Group, error)
	Groups(ctx context.Context, r wire.Read) ([]wire.Group, error)
	Transition(ctx context.Context, who string, group estate.GroupID, revision int64, t unit.Transition) (wire.Group, error)

	Manifest(ctx context.Context, r wire.Read) (wire.Manifest, error)
	ApplyManifest(ctx context.Context, who, text string, revision int64, groups []wire.Group, plan wire.ManifestPlan) (wire.Manifest, error)

	Instances(ctx context.Context, r wire.Read) ([]wire.Instance, error)
	PutInstance(ctx context.Context, i wire.Instance) (wire.Instance, error)
	DeleteInstance(ctx context.Context, system estate.SystemID, site estate.SiteID, id string) error
	Acks(ctx context.Context, r wire.Read) ([]wire.Ack, error)
	PutAck(ctx context.Context, a wire.Ack) error
	MemberStatuses(ctx context.Context, r wire.Read) ([]wire.MemberStatus, error)
	PutMemberStatus(ctx context.Context, m wire.MemberStatus) error
	Divergences(ctx context.Context, group estate.GroupID, r wire.Read) ([]wire.Divergence, error)
	PutDivergence(ctx context.Context, d wire.Divergence) error

	Events(ctx context.Context, after int64, limit int, newest bool, r wire.Read) ([]wire.Event, error)
	Note(ctx context.Context, who, what, subject string, detail any) error
	Authenticate(ctx context.Context, secret string, reading bool) (wire.Caller, error)
	Tokens(ctx context.Context, r wire.Read) ([]wire.Token, error)
	CreateToken(ctx context.Context, who string, ask wire.AskToken) (wire.NewToken, error)
	RevokeToken(ctx context.Context, who, id string) error

	WindowStore
	RunStore
	IncidentStore
	RectificationStore
	OrderStore
	PeopleStore
	KeyedStore
	// LogKeys lists the keys that nodes sign the evidence log with.
	LogKeys(ctx context.Context) ([]wire.LogKey, error)

	Incarnation(ctx context.Context, r wire.Read) (wire.Incarnation, error)
	Formats(ctx context.Context, r wire.Read) (wire.Formats, error)
	Watch(ctx context.Context, from wire.Position, prefixes []string, handle func(wire.Update) error) error
}

// Member is this node's member of the store.
type Member interface {
	Status(ctx context.Context) wire.StoreStatus
	HasLeader(ctx context.Context) bool
	Snapshot(ctx context.Context, w io.Writer) error
	Reclaim(ctx context.Context) error
	// Grow tells the store of a new member; Shrink takes one out.
	Grow(ctx context.Context, name, peerURL string) ([]wire.StoreMember, error)
	Shrink(ctx context.Context, name string) error
}

// Standing is what this node may do beside its peers (I10).
type Standing interface {
	View() (wire.Standing, []wire.NodeView)
	MayAct() error
	// Over says why the node's part in the estate has ended for good, nil while it has not.
	Over() error
	Confirm(person string) error
}

// Manifests understands manifests: it checks the text and says what applying it would do to the store as it is.
// A wrong text is an errs.Invalid whose message names file, line, field and the fix.
type Manifests interface {
	Plan(current, next string, groups []wire.Group, incarnation estate.Incarnation, person string, now int64) (wire.ManifestPlan, error)
}

// Switcher carries out what people ask of a unit. The API has checked the person's right before.
type Switcher interface {
	// Forecast says what a switch would take, and changes nothing.
	Forecast(ctx context.Context, person string, unit estate.UnitID, r wire.SwitchRequest) (wire.SwitchAnswer, error)
	// Start starts a run that begins with the switch and nothing else: both are there, or neither.
	Start(ctx context.Context, person string, unit estate.UnitID, r wire.SwitchRequest, start wire.RunStart) (wire.SwitchAnswer, error)
	Abort(ctx context.Context, person string, unit estate.UnitID, r wire.AbortRequest) (wire.SwitchAnswer, error)
	Accept(ctx context.Context, person string, unit estate.UnitID, r wire.AcceptRequest) (wire.SwitchAnswer, error)
	Verify(ctx context.Context, person string, unit estate.UnitID, lostAt time.Time) (wire.VerifyAnswer, error)
	Release(ctx context.Context, person string, unit estate.UnitID, r wire.ReleaseRequest) (wire.SwitchAnswer, error)
	// MayGrant refuses an agent's transition that would grant ownership below what a database has met (I10).
	MayGrant(ctx context.Context, group estate.GroupID, revision int64, t unit.Transition) error
}

// Silences gives what this node's own probes say of a group's owner (I16).
type Silences interface {
	Silence(group estate.GroupID) (wire.Silence, error)
}

// Foresight looks ahead at runs, and changes nothing.
type Foresight interface {
	Preflight(ctx context.Context, program *plan.Program, given map[string]any) (*measure.Preflight, error)
	// History is what the newest runs of the plans took.
	History(ctx context.Context, plans []string) (*measure.History, error)
}

// Deps are the parts the API is in front of. Manifests, Plans, Evidence, Switcher and Silences may be nil: their routes then answer 503.
type Deps struct {
	Store     Store
	Member    Member
	Standing  Standing
	Manifests Manifests
	Plans     Plans
	Evidence  Evidence
	Switcher  Switcher
	Silences  Silences
	// Orders asks owners of units for orders that were held; nil: its route answers 503.
	Orders Prover
	// SignOn signs people on by a provider; nil: there is none.
	SignOn SignOn
	// Foresight looks ahead at runs.
	Foresight Foresight
	// Gather gives the metrics of /metrics, Register takes the API's own; both may be nil.
	Gather   prometheus.Gatherer
	Register prometheus.Registerer
	Logger   *slog.Logger
}
