package manifest

import "perdure/internal/estate"

// StageOf is how the system is kept ready: as declared, else as its groups are laid out.
func (s *Set) StageOf(system *System) estate.Stage {
	if system.Stage != "" {
		return system.Stage
	}
	return s.layout(system)
}

// Criticalities give of each system the highest of its own, of the functions that rest on it, and of the systems that depend on it.
func (s *Set) Criticalities() map[estate.SystemID]estate.Criticality {
	out := map[estate.SystemID]estate.Criticality{}
	needs := map[estate.SystemID][]estate.SystemID{}
	for _, system := range s.Systems {
		out[system.Name], needs[system.Name] = estate.Normal, system.DependsOn
	}
	var raise func(id estate.SystemID, to estate.Criticality)
	raise = func(id estate.SystemID, to estate.Criticality) {
		if to.Rank() >= out[id].Rank() {
			return
		}
		out[id] = to
		for _, below := range needs[id] {
			raise(below, to)
		}
	}
	for _, system := range s.Systems {
		raise(system.Name, system.Criticality)
	}
	for _, f := range s.Functions {
		for _, id := range f.Systems {
			raise(id, f.Criticality)
		}
	}
	return out
}
