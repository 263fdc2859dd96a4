package gateway

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"perdure/internal/route"
)

// adminRoute is one line of the admin port's table. Roles are those of machine identities ("gateway:a" has role gateway).
type adminRoute struct {
	pattern string
	roles   []string // nil: open to everybody
	serve   http.HandlerFunc
}

// adminHandler serves the admin port: nothing but health is open.
func (g *Gateway) adminHandler() http.Handler {
	readers := []string{"node", "gateway", "agent", "monitor"}
	routes := []adminRoute{
		{"GET /healthz", nil, g.serveHealth},
		{"GET /metrics", readers, promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP},
		{"GET /table", readers, g.serveTable},
		{"GET /input", []string{"gateway"}, g.lend},
		{"GET /ledger", readers, g.serveLedger},
		{"GET /ledgers", readers, g.serveLedgerEnds},
		{"GET /ledger/{from}", []string{"gateway"}, g.serveLedgerPosition},
		{"POST /ledger/{from}", []string{"gateway"}, g.takeLedger},
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.pattern, g.only(r.roles, r.serve))
	}
	return mux
}

// only lets in the machine identities of the roles.
func (g *Gateway) only(roles []string, next http.HandlerFunc) http.HandlerFunc {
	if roles == nil {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if g.o.AdminTLS == nil && g.o.AdminOpen {
			next(w, r)
			return
		}
		name := machine(r)
		role, _, _ := strings.Cut(name, ":")
		switch {
		case name == "":
			refuse(w, http.StatusUnauthorized, "unauthorised", "this needs a machine certificate of the estate")
		case !slices.Contains(roles, role):
			refuse(w, http.StatusForbidden, "forbidden", "the certificate's role may not do this")
		default:
			next(w, r)
		}
	}
}

// machine gives the common name of the client's verified certificate, "" where there is none.
func machine(r *http.Request) string { return machineOf(r.TLS) }

// machineOf gives the common name of the other side's verified certificate, "" where there is none.
func machineOf(c *tls.ConnectionState) string {
	if c == nil || len(c.VerifiedChains) == 0 {
		return ""
	}
	return c.PeerCertificates[0].Subject.CommonName
}

func refuse(w http.ResponseWriter, status int, slug, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "urn:perdure:problem:" + slug, "title": http.StatusText(status), "status": status, "detail": detail})
}

// serveHealth answers 200 while requests are taken in, 503 while draining or without any table.
func (g *Gateway) serveHealth(w http.ResponseWriter, _ *http.Request) {
	v := g.view.Load()
	status, word := http.StatusOK, "ok"
	switch {
	case g.draining.Load():
		status, word = http.StatusServiceUnavailable, "draining"
	case len(v.systems) == 0:
		status, word = http.StatusServiceUnavailable, "no table yet"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": word, "site": g.o.Site, "version": v.table.Version})
}

// tableView is the JSON of /table.
type tableView struct {
	Version int64        `json:"version"`
	OnDisk  int64        `json:"onDisk"`
	Site    string       `json:"site"`
	Systems []systemJSON `json:"systems"`
}

type systemJSON struct {
	ID    string     `json:"id"`
	Held  int64      `json:"held"`
	Units []unitJSON `json:"units"`
}

type unitJSON struct {
	ID        string         `json:"id"`
	Group     string         `json:"group"`
	Ownership string         `json:"ownership"`
	State     string         `json:"state"`
	Phase     string         `json:"phase,omitempty"`
	Site      string         `json:"site"`
	Decision  string         `json:"decision"`
	Conflict  bool           `json:"conflict,omitempty"`
	Instances []instanceJSON `json:"instances"`
}

type instanceJSON struct {
	ID      string `json:"id"`
	Site    string `json:"site"`
	Address string `json:"address"`
	Health  string `json:"health"`
	Busy    int32  `json:"busy"`
}

func (g *Gateway) serveTable(w http.ResponseWriter, _ *http.Request) {
	v := g.view.Load()
	now := time.Now()
	out := tableView{Version: v.table.Version, OnDisk: g.saved.Load(), Site: string(g.o.Site), Systems: []systemJSON{}}
	for _, s := range v.systems {
		sj := systemJSON{ID: string(s.ID), Held: s.gate.held.Load()}
		for _, u := range s.units {
			e := &u.entry
			uj := unitJSON{
				ID: string(e.Unit), Group: string(e.Group), Ownership: e.Stamp, State: string(e.State.State), Phase: string(e.Phase),
				Site: string(e.Site), Decision: route.Judge(&e.State, g.o.Site, now).String(), Conflict: e.Conflict, Instances: []instanceJSON{},
			}
			for _, in := range slices.Concat(u.healthy, u.spare) {
				uj.Instances = append(uj.Instances, instanceJSON{in.ID, string(in.Site), in.Address, in.describe(now), in.busy.Load()})
			}
			sj.Units = append(sj.Units, uj)
		}
		out.Systems = append(out.Systems, sj)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}
