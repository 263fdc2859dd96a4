package generate

import (
	"fmt"
	"slices"
	"strings"

	"perdure/internal/document"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/plan"
)

// Options say what a plan is wanted for. At least one of System and Site is given.
type Options struct {
	Mode   plan.Mode
	System estate.SystemID // this one only
	// Site is what everything leaves in a takeover or an emergency, and what everything goes home to in a switch-back.
	Site estate.SiteID
	// To is where everything goes; empty: for each system the nearest site that has everything it needs. Not in a switch-back.
	To estate.SiteID
	// Current is where groups are current; one that is not in it is taken to be at home.
	Current map[estate.GroupID]estate.SiteID
	// Language is that of what people read in the plan; empty: English.
	Language document.Language
}

// Generated is a plan, and what has to be known about it.
type Generated struct {
	Plan plan.Plan
	// Text is the plan as a document, with a comment at each step that says why it is there.
	Text []byte
	// Notes are what stands not in the plan although it was asked for, and what its steps take for granted.
	Notes []string
}

// Modes are those that a plan can be wanted for, whether or not drivers can carry it out yet.
func Modes() []plan.Mode {
	return []plan.Mode{plan.Drill, plan.Takeover, plan.Emergency, plan.SwitchBack}
}

// mostSteps bounds a document of kind Plan.
const mostSteps = 10000

// Plan makes the plan. An error is of kind invalid where the options contradict each other, not-found where they name what is not there, and
// refused where no driver, or no copy, can do what is wanted; it says the way out.
func Plan(set *manifest.Set, catalogue plan.Catalogue, o Options) (Generated, error) {
	if err := o.check(set); err != nil {
		return Generated{}, err
	}
	action, err := mover(catalogue, o.Mode)
	if err != nil {
		return Generated{}, err
	}
	s := scope{set: set, o: o, row: plan.ContractOf(o.Mode)}
	find := s.parts
	if o.Mode == plan.Drill {
		find = s.drills
	}
	parts, err := find()
	if err != nil {
		return Generated{}, err
	}
	w := writer{scope: &s, action: action, parts: parts, waves: wavesOf(set, parts), participants: participantsOf(set, parts, tenantOf(parts)), taken: map[string]bool{}}
	steps := w.everyStep()
	if len(steps) > mostSteps {
		return Generated{}, errs.New(errs.Refused, "the plan would have %d steps, a document may have %d: generate one for each system with --system", len(steps), mostSteps)
	}
	p := plan.Plan{Name: o.name(), Title: o.title(), Modes: []plan.Mode{o.Mode}, System: o.System, Tenant: tenantOf(parts), RTO: w.objective()}
	if len(parts) == 1 { // windows of the calendar may be for a system
		p.System = parts[0].system.Name
	}
	if o.Mode == plan.Emergency { // nobody knows when
		p.Armed = []plan.Armed{{Name: "standing", Mode: o.Mode}}
	}
	for _, one := range steps {
		p.Steps = append(p.Steps, one.Step)
	}
	return Generated{Plan: p, Text: text(&p, steps, w.head()), Notes: s.notes}, nil
}

// tenantOf is whose systems they are; those of several are switched by a plan of the platform's own.
func tenantOf(parts []*part) estate.TenantID {
	for _, p := range parts[1:] {
		if p.system.Tenant != parts[0].system.Tenant {
			return ""
		}
	}
	return parts[0].system.Tenant
}

func (o *Options) check(set *manifest.Set) error {
	switch {
	case !slices.Contains(Modes(), o.Mode):
		return errs.New(errs.Invalid, "no plan is generated for mode %q; allowed: %s", o.Mode, listed(document.English, Modes(), len(Modes())))
	case o.System == "" && o.Site == "":
		return errs.New(errs.Invalid, "say what the plan is for: --system SYSTEM, --scope site SITE, or both")
	case o.System != "" && set.System(o.System) == nil:
		return errs.New(errs.NotFound, "there is no system %q; there are: %s", o.System, listed(document.English, systemNames(set), 20))
	case o.Mode == plan.SwitchBack && o.To != "":
		return errs.New(errs.Invalid, "a switch-back goes home, to the site of the owner in the manifest: leave --to out, or use --mode takeover")
	case o.Site != "" && o.Site == o.To:
		return errs.New(errs.Invalid, "what leaves site %s cannot go there", o.Site)
	}
	for _, id := range []estate.SiteID{o.Site, o.To} {
		if id == "" {
			continue
		}
		site := set.Site(id)
		if site == nil {
			return errs.New(errs.NotFound, "there is no site %q; there are: %s", id, listed(document.English, siteNames(set), 20))
		}
		if site.Witness {
			return errs.New(errs.Invalid, "site %s is a witness: it carries no system", id)
		}
	}
	return nil
}

// mover gives the action that makes units current elsewhere and that the contract of the mode allows.
func mover(catalogue plan.Catalogue, mode plan.Mode) (plan.Action, error) {
	row := plan.ContractOf(mode)
	var why []string
	for _, a := range catalogue {
		if a.Looks || a.Touches.Image == "" {
			continue
		}
		broken := row.Breaks(&a)
		if broken == "" {
			return a, nil
		}
		why = append(why, fmt.Sprintf("%s of driver %s %s", a.Name, a.Driver, broken))
	}
	reason := "there is none"
	if len(why) > 0 {
		reason = strings.Join(why, "; ")
	}
	return plan.Action{}, errs.New(errs.Refused, "no plan for mode %s can be generated: it needs a driver that brings %s into use without breaking the contract of the mode (%s). "+
		"Until there is one, write a plan of checks and tasks by hand, or practise with --mode takeover in a window", mode, row.Image.Words(), reason)
}

// name is made of what is wanted, cut to what a name may have.
func (o *Options) name() string {
	words := []string{string(o.Mode)}
	if o.System != "" {
		words = append(words, string(o.System))
	}
	if o.Site != "" {
		words = append(words, "site", string(o.Site))
	}
	if o.To != "" {
		words = append(words, "to", string(o.To))
	}
	return cut(strings.Join(words, "-"))
}

func (o *Options) title() string {
	if o.Mode == plan.Drill {
		return o.drillTitle()
	}
	what := string(o.System)
	switch home := o.Mode == plan.SwitchBack; {
	case o.System != "" && o.Site != "" && home:
		what = say(o.Language, "%s, everything at home at site %s", o.System, o.Site)
	case o.System != "" && o.Site != "":
		what = say(o.Language, "%s, everything current at site %s", o.System, o.Site)
	case o.System == "" && home:
		what = say(o.Language, "everything at home at site %s", o.Site)
	case o.System == "":
		what = say(o.Language, "everything current at site %s", o.Site)
	}
	of := map[plan.Mode]string{plan.Takeover: "Take over %s", plan.Emergency: "Emergency switch of %s", plan.SwitchBack: "Switch back %s"}[o.Mode]
	title := say(o.Language, of, what)
	if o.To != "" {
		title = say(o.Language, "%s, to %s", title, o.To)
	}
	return title
}

// command is how the plan is made again.
func (o *Options) command() string {
	text := "perdure plan generate --mode " + string(o.Mode)
	if o.System != "" {
		text += " --system " + string(o.System)
	}
	if o.Site != "" {
		text += " --scope site " + string(o.Site)
	}
	if o.To != "" {
		text += " --to " + string(o.To)
	}
	if o.Language == document.Chinese {
		text += " --lang zh"
	}
	return text
}

// longestName is what a plan or a step may be called.
const longestName = 64

func cut(name string) string {
	if len(name) > longestName {
		name = strings.TrimRight(name[:longestName], "-")
	}
	return name
}

// listed writes some names, and how many more there are.
func listed[T ~string](l document.Language, names []T, most int) string {
	if len(names) == 0 {
		return "none"
	}
	words := make([]string, 0, most)
	for i, n := range names {
		if i == most {
			return strings.Join(words, ", ") + say(l, " and %d more", len(names)-most)
		}
		words = append(words, string(n))
	}
	return strings.Join(words, ", ")
}

func systemNames(set *manifest.Set) []estate.SystemID {
	var names []estate.SystemID
	for _, s := range set.Systems {
		names = append(names, s.Name)
	}
	return names
}

func siteNames(set *manifest.Set) []estate.SiteID {
	var names []estate.SiteID
	for _, s := range set.Sites {
		names = append(names, s.Name)
	}
	return names
}
