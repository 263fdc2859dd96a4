package generate

import (
	"slices"

	"perdure/internal/estate"
	"perdure/internal/manifest"
)

// wave is what goes together.
type wave struct {
	criticality estate.Criticality
	parts       []*part
}

// wavesOf puts systems behind all that they depend on, and the critical ones in front of what is less so. Dependencies have no cycle.
func wavesOf(set *manifest.Set, parts []*part) []wave {
	criticality := set.Criticalities()
	needs := needsOf(set, parts)
	placed := map[estate.SystemID]bool{}
	left := slices.Clone(parts)
	var out []wave
	for len(left) > 0 {
		var w wave
		for _, p := range left {
			c := criticality[p.system.Name]
			switch ready := !slices.ContainsFunc(needs[p.system.Name], func(id estate.SystemID) bool { return !placed[id] }); {
			case !ready:
			case len(w.parts) == 0 || c.Rank() < w.criticality.Rank():
				w = wave{c, []*part{p}}
			case c.Rank() == w.criticality.Rank():
				w.parts = append(w.parts, p)
			}
		}
		if len(w.parts) == 0 {
			panic("generate: dependencies with a cycle, which the manifest refuses")
		}
		for _, p := range w.parts {
			placed[p.system.Name] = true
		}
		left = slices.DeleteFunc(left, func(p *part) bool { return placed[p.system.Name] })
		out = append(out, w)
	}
	return out
}

// needsOf gives for each system of the plan those of the plan that it depends on, also by way of others that stay where they are.
func needsOf(set *manifest.Set, parts []*part) map[estate.SystemID][]estate.SystemID {
	within := map[estate.SystemID]bool{}
	for _, p := range parts {
		within[p.system.Name] = true
	}
	direct := map[estate.SystemID][]estate.SystemID{}
	for _, s := range set.Systems {
		direct[s.Name] = s.DependsOn
	}
	out := map[estate.SystemID][]estate.SystemID{}
	for _, p := range parts {
		seen := map[estate.SystemID]bool{}
		var look func(id estate.SystemID)
		look = func(id estate.SystemID) {
			for _, below := range direct[id] {
				if seen[below] {
					continue
				}
				seen[below] = true
				if within[below] {
					out[p.system.Name] = append(out[p.system.Name], below)
				} else {
					look(below)
				}
			}
		}
		look(p.system.Name)
		slices.Sort(out[p.system.Name])
	}
	return out
}

// participantsOf are those that take part in a switch of any of the systems, by a plan of the tenant (T1).
func participantsOf(set *manifest.Set, parts []*part, tenant estate.TenantID) []*manifest.Participant {
	var out []*manifest.Participant
	for i := range set.Participants {
		p := &set.Participants[i]
		if p.Tenant != "" && p.Tenant != tenant {
			continue
		}
		if len(p.Systems) == 0 || slices.ContainsFunc(parts, func(one *part) bool { return slices.Contains(p.Systems, one.system.Name) }) {
			out = append(out, p)
		}
	}
	return out
}
