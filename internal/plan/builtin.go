package plan

import "slices"

// SwitchUnit is the plan of the product's own by which `perdure switch` makes a unit current at another site.
const SwitchUnit = "switch-unit"

// SwitchStep is the one step of it.
const SwitchStep = "switch"

// BuiltInPlans are the plans that every estate has. Their names are taken: what a person asks for by name alone is the same everywhere.
func BuiltInPlans() []Plan {
	return []Plan{{
		Name: SwitchUnit, Title: "Make a unit current at another site", Modes: []Mode{Takeover, SwitchBack, Emergency},
		Parameters: []Parameter{
			{Name: "unit", Type: Text, Required: true, Doc: "Unit that goes; all units of its replication group go with it."},
			{Name: "to", Type: Text, Required: true, Doc: "Site that it goes to."},
		},
		// It takes no lock: of two switches the record lets one begin, and an emergency waits for nothing. A switch that fails has undone
		// itself, so the run has nothing to ask of anybody and ends.
		Steps: []Step{{
			ID: SwitchStep, Title: "Switch the unit", OnFailure: Compensate,
			Act: &Call{Driver: "unit", Action: "switch", Target: "${params.unit}", With: map[string]any{"to": "${params.to}"}},
		}},
	}}
}

// IsBuiltIn reports whether a plan of the name is one of the product's own.
func IsBuiltIn(name string) bool {
	return slices.ContainsFunc(BuiltInPlans(), func(p Plan) bool { return p.Name == name })
}
