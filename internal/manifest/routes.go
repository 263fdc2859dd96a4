package manifest

import (
	"fmt"
	"time"

	"perdure/internal/estate"
	"perdure/internal/route"
)

// Routes gives the parts of a route table that are declared: systems with an account module, and the instances that are always there.
// Owners and registered instances come from the store.
func (s *Set) Routes() ([]route.System, []route.Instance) {
	var (
		systems   []route.System
		instances []route.Instance
	)
	for i := range s.Systems {
		sys := &s.Systems[i]
		module := sys.onlyModule(estate.Account)
		if module == nil || len(module.Paths) == 0 {
			continue
		}
		systems = append(systems, sys.route(module))
		for _, d := range sys.Deployments {
			if d.Module != module.Name {
				continue
			}
			for j, url := range d.Instances {
				instances = append(instances, route.Instance{
					ID: fmt.Sprintf("%s-%s-%d", sys.Name, d.Site, j+1), System: sys.Name, Site: d.Site, Address: url,
				})
			}
		}
	}
	return systems, instances
}

func (s *System) route(module *Module) route.System {
	out := route.System{
		ID: s.Name, Hosts: s.Hosts, Paths: module.Paths, Slots: s.Slots, Reads: s.Reads, RequireKey: s.Idempotency.Required, KeyHeader: s.Idempotency.Header,
		Limits:         route.Limits{MaxBody: int(s.Limits.Body), MaxConcurrent: s.Limits.Concurrent, Rate: float64(s.Limits.Rate)},
		Hold:           route.HoldLimits{Time: time.Duration(s.Hold.MaxTime), Count: s.Hold.MaxRequests, Bytes: int64(s.Hold.MaxBytes)},
		Health:         route.Health{Path: s.Health.Path, Every: time.Duration(s.Health.Interval), Timeout: time.Duration(s.Health.Timeout), Failures: s.Health.Failures},
		AttemptTimeout: time.Duration(s.Limits.Timeout), UnkeyedTimeout: time.Duration(s.Limits.UnkeyedTimeout),
	}
	for _, k := range s.RoutingKey {
		out.Keys = append(out.Keys, route.KeySource{From: route.From(k.From), Name: k.Name, Only: k.Only})
	}
	for _, u := range s.Units {
		if u.Module != module.Name {
			continue
		}
		ranges := make([]route.SlotRange, len(u.Slots))
		for i, r := range u.Slots {
			ranges[i] = route.SlotRange{First: r.From, Last: r.To}
		}
		out.Units = append(out.Units, route.Unit{ID: u.Name, Slots: ranges})
		for _, key := range u.Overrides {
			if out.Overrides == nil {
				out.Overrides = map[string]estate.UnitID{}
			}
			out.Overrides[key] = u.Name
		}
	}
	return out
}

// TestAccounts are the declared test accounts that a unit has.
func (s *System) TestAccounts(u estate.UnitID) ([]string, error) {
	module := s.onlyModule(estate.Account)
	if module == nil || len(s.Drill.Accounts) == 0 {
		return nil, nil
	}
	table, err := route.Compile(route.Input{Systems: []route.System{s.route(module)}})
	if err != nil {
		return nil, err
	}
	var own []string
	for _, account := range s.Drill.Accounts {
		if _, at := table.Systems[0].Lookup([]byte(account)); table.Systems[0].Units[at].Unit == u {
			own = append(own, account)
		}
	}
	return own, nil
}
