package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// File is a text with the name that problems are told under.
type File struct {
	Name string
	Text []byte
}

// Parse reads the documents of all files as one set and checks it. The error, where there is one, is of kind invalid and
// unwraps to Problems: everything that is wrong, in order. A set comes back only without error.
func Parse(files ...File) (Set, error) {
	set, _, problems := read(files)
	if len(problems) > 0 {
		return Set{}, problems.Err()
	}
	set.canonical()
	return set, nil
}

// ParsePlans reads the plans of the files and checks them by themselves: documents of other kinds, and the estate that the plans are for,
// are not looked at. A document of which nobody can say the kind may have been meant as a plan, and is a problem. The error is as that of Parse.
func ParsePlans(files ...File) ([]plan.Plan, error) {
	set, docs, problems := readDocuments(files)
	c := newChecker(&Set{Plans: set.Plans}, documents{plans: docs.plans, partial: true})
	c.checkPlans()
	kept := append(shape.Problems{}, c.problems...)
	for _, p := range problems { // those of other documents are the matter of Parse
		if p.Document == "" || p.Document == unknownKind || p.Document == "Plan" || strings.HasPrefix(p.Document, "Plan ") {
			kept = append(kept, p)
		}
	}
	if len(kept) > 0 {
		return nil, kept.Sorted().Err()
	}
	return set.Plans, nil
}

// PlanOf reads one plan and the plans that are part of it, and checks no others: what is wrong with some plan does not keep another one from being
// run. Where there is no plan of the name the list has none of it. One of the product's own is what it is whatever the files say.
func PlanOf(name string, files ...File) ([]plan.Plan, error) {
	if plan.IsBuiltIn(name) {
		return plan.BuiltInPlans(), nil
	}
	set, docs, problems := readDocuments(files)
	wanted := plan.Closure(set.Plans, name)
	var some Set
	var of documents
	for i, p := range set.Plans {
		if slices.Contains(wanted, p.Name) {
			some.Plans, of.plans = append(some.Plans, p), append(of.plans, docs.plans[i])
		}
	}
	of.partial = true
	c := newChecker(&some, of)
	c.checkPlans()
	kept := append(shape.Problems{}, c.problems...)
	for _, p := range problems {
		if name, ok := strings.CutPrefix(p.Document, "Plan "); ok && slices.Contains(wanted, name) {
			kept = append(kept, p)
		}
	}
	if len(kept) > 0 {
		return nil, kept.Sorted().Err()
	}
	return some.Plans, nil
}

// Calendars reads the calendars of a set that was accepted once, for who asks them. What is wrong with other documents is not looked at; what
// this version cannot read of a calendar is an error of kind invalid, for nobody knows what it would allow.
func Calendars(files ...File) (*calendar.Book, error) {
	set, _, problems := readDocuments(files)
	if err := only(problems, "Calendar").Err(); err != nil {
		return nil, err
	}
	set.canonical()
	return calendar.Open(set.Calendars)
}

// IncidentRules reads the rules on incidents of a set that was accepted once; none are the zero ones. What is wrong with other documents is not
// looked at.
func IncidentRules(files ...File) (incident.Rules, error) {
	set, _, problems := readDocuments(files)
	if err := only(problems, "IncidentRules").Err(); err != nil {
		return incident.Rules{}, err
	}
	set.canonical()
	if len(set.IncidentRules) == 0 {
		return incident.Rules{}, nil
	}
	return set.IncidentRules[0], nil
}

// Participants reads the participants of a set that was accepted once, in the order of their names. What is wrong with other documents is not
// looked at.
func Participants(files ...File) ([]Participant, error) {
	set, _, problems := readDocuments(files)
	if err := only(problems, "Participant").Err(); err != nil {
		return nil, err
	}
	set.canonical()
	return set.Participants, nil
}

// Duties reads the rosters of a set that was accepted once. What is wrong with other documents is not looked at.
func Duties(files ...File) (*duty.Book, error) {
	set, _, problems := readDocuments(files)
	if err := only(problems, "Roster").Err(); err != nil {
		return nil, err
	}
	set.canonical()
	return duty.Open(set.Rosters)
}

// only gives the problems of documents of a kind, and those that are of no document.
func only(problems shape.Problems, kind string) shape.Problems {
	var kept shape.Problems
	for _, p := range problems {
		if p.Document == "" || p.Document == kind || strings.HasPrefix(p.Document, kind+" ") {
			kept = append(kept, p)
		}
	}
	return kept.Sorted()
}

// Known reads what can be read of documents that were accepted once, by whatever version of the language: the set is as whole as the text,
// and the problems say what this version does not understand or would not accept. Nothing new is ever taken in by it.
func Known(files ...File) (Set, shape.Problems) {
	set, _, problems := read(files)
	set.canonical()
	return set, problems
}

// Doubts are what is allowed but hardly meant, or meant and worth saying aloud: wrong distances, shared fault domains of remote sites,
// copies that protect from nothing. It expects files that Parse accepts.
func Doubts(files ...File) shape.Problems {
	set, docs, problems := read(files)
	if len(problems) > 0 {
		return nil
	}
	return doubt(&set, docs)
}

// DoubtsOfPlans are those that plans give by themselves. It expects files that ParsePlans accepts.
func DoubtsOfPlans(files ...File) shape.Problems {
	set, docs, _ := readDocuments(files)
	c := newChecker(&Set{Plans: set.Plans}, documents{plans: docs.plans, partial: true})
	c.doubtPlans()
	return c.problems.Sorted()
}

// Check holds a set that does not come from text against the rules between documents. Its problems have no file and no line.
func Check(set Set) error {
	c := newChecker(&set, documents{})
	for _, s := range set.Sites {
		c.docs.sites = append(c.docs.sites, &document{kind: "Site", name: string(s.Name)})
	}
	for _, s := range set.Systems {
		c.docs.systems = append(c.docs.systems, &document{kind: "System", name: string(s.Name)})
	}
	for _, cal := range set.Calendars {
		c.docs.calendars = append(c.docs.calendars, &document{kind: "Calendar", name: cal.Name})
	}
	for _, f := range set.Functions {
		c.docs.functions = append(c.docs.functions, &document{kind: "Function", name: f.Name})
	}
	for _, p := range set.Participants {
		c.docs.participants = append(c.docs.participants, &document{kind: "Participant", name: p.Name})
	}
	for _, r := range set.Rosters {
		c.docs.rosters = append(c.docs.rosters, &document{kind: "Roster", name: r.Name})
	}
	for _, r := range set.IncidentRules {
		c.docs.incidentRules = append(c.docs.incidentRules, &document{kind: "IncidentRules", name: r.Name})
	}
	for _, g := range set.CommandGroups {
		c.docs.commandGroups = append(c.docs.commandGroups, &document{kind: "CommandGroup", name: g.Name})
	}
	for _, t := range set.Tenants {
		c.docs.tenants = append(c.docs.tenants, &document{kind: "Tenant", name: string(t.Name)})
	}
	for _, p := range set.Plans {
		c.docs.plans = append(c.docs.plans, &document{kind: "Plan", name: p.Name})
	}
	c.checkSet()
	return c.problems.Sorted().Err()
}

// document is where a document came from.
type document struct {
	file   string
	line   int
	kind   string
	name   string
	lines  map[string]int
	broken []string // fields with structural problems: what follows from them is not told again
}

// documents stand in the order of the set's lists.
type documents struct {
	sites, systems, plans, calendars, functions, participants, incidentRules, commandGroups, rosters, tenants []*document
	// partial: some document could not be told at all, so a missing name proves nothing.
	partial bool
}

// lineOf gives the line of the field, or of the nearest thing around it.
func (d *document) lineOf(path string) int {
	for path != "" {
		if line, ok := d.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return d.line
}

// brokenAt reports whether the field, something around it or something in it is broken.
func (d *document) brokenAt(path string) bool {
	return slices.ContainsFunc(d.broken, func(b string) bool { return within(b, path) || within(path, b) })
}

// within reports whether the path is the field or lies in it.
func within(path, field string) bool {
	return field == "" || path == field || strings.HasPrefix(path, field+".") || strings.HasPrefix(path, field+"[")
}

// where writes file and line of a field for use in another field's problem.
func (d *document) where(path string) string {
	if d.file == "" {
		return d.kind + " " + d.name
	}
	return fmt.Sprintf("%s:%d", d.file, d.lineOf(path))
}

func (d *document) String() string {
	if d.name == "" {
		return d.kind
	}
	return d.kind + " " + d.name
}

func read(files []File) (Set, documents, shape.Problems) {
	set, docs, problems := readDocuments(files)
	if len(docs.sites)+len(docs.systems)+len(docs.plans)+len(docs.calendars)+len(docs.functions)+len(docs.participants)+len(docs.incidentRules)+len(docs.commandGroups)+len(docs.rosters)+len(docs.tenants) == 0 && len(problems) == 0 {
		p := shape.Problem{Reason: "there is no document", Allowed: "documents of the kinds " + strings.Join(kindNames(kinds()), ", ")}
		if len(files) > 0 {
			p.File = files[0].Name
		}
		return set, docs, shape.Problems{p}
	}
	c := newChecker(&set, docs)
	c.checkSet()
	return set, docs, append(problems, c.problems...).Sorted()
}

// readDocuments reads every document by itself, with what follows from its own fields.
func readDocuments(files []File) (Set, documents, shape.Problems) {
	var (
		set      = Set{Sites: []Site{}, Systems: []System{}}
		docs     documents
		problems shape.Problems
	)
	shapes := kinds()
	for _, f := range files {
		trees, problem := trees(f)
		if problem != nil {
			problems, docs.partial = append(problems, *problem), true
		}
		for _, tree := range trees {
			d := &document{file: f.Name, line: tree.Line, lines: map[string]int{}}
			known := readDocument(tree, d, shapes, &set, &docs, &problems)
			docs.partial = docs.partial || !known || d.brokenAt("name")
		}
	}
	for i := range set.Systems {
		set.Systems[i].complete()
	}
	for i := range set.Sites {
		set.Sites[i].complete()
	}
	return set, docs, problems
}

// mostBroken bounds the structural problems that are kept of one document: whoever sends more of them has sent something else.
const mostBroken = 1000

// unknownKind is how a document is called of which the kind is not known.
const unknownKind = "document"

// readDocument reports whether kind and version were known.
func readDocument(tree *yaml.Node, d *document, shapes []kind, set *Set, docs *documents, problems *shape.Problems) bool {
	tell := func(line int, path, allowed string, structural bool, reason string) {
		if len(d.broken) == mostBroken {
			return
		}
		*problems = append(*problems, shape.Problem{File: d.file, Line: line, Document: d.String(), Field: path, Reason: reason, Allowed: allowed, Structural: structural})
		d.broken = append(d.broken, path)
	}
	d.kind = unknownKind
	if tree.Kind != yaml.MappingNode {
		tell(tree.Line, "", "an object with apiVersion and kind", true, "a document is an object")
		return false
	}
	kindNode := shape.Find(tree, "kind")
	if kindNode == nil {
		tell(tree.Line, "kind", strings.Join(kindNames(shapes), ", "), true, "missing")
		return false
	}
	for _, k := range shapes {
		if kindNode.Kind != yaml.ScalarNode || kindNode.Value != k.name {
			continue
		}
		d.kind = k.name
		if n := shape.Find(tree, "name"); n != nil && n.Kind == yaml.ScalarNode {
			d.name = n.Value
		}
		shape.Check(tree, &k.shape, d.lines, tell)
		var err error
		switch k.name {
		case "Site":
			var s Site
			err = tree.Decode(&s)
			set.Sites, docs.sites = append(set.Sites, s), append(docs.sites, d)
		case "System":
			var s System
			err = tree.Decode(&s)
			set.Systems, docs.systems = append(set.Systems, s), append(docs.systems, d)
		case "Calendar":
			var c calendar.Calendar
			err = tree.Decode(&c)
			c.Complete()
			set.Calendars, docs.calendars = append(set.Calendars, c), append(docs.calendars, d)
		case "Function":
			var f Function
			err = tree.Decode(&f)
			set.Functions, docs.functions = append(set.Functions, f), append(docs.functions, d)
		case "Participant":
			var p Participant
			err = tree.Decode(&p)
			set.Participants, docs.participants = append(set.Participants, p), append(docs.participants, d)
		case "IncidentRules":
			var r incident.Rules
			err = tree.Decode(&r)
			set.IncidentRules, docs.incidentRules = append(set.IncidentRules, r), append(docs.incidentRules, d)
		case "CommandGroup":
			var g CommandGroup
			err = tree.Decode(&g)
			set.CommandGroups, docs.commandGroups = append(set.CommandGroups, g), append(docs.commandGroups, d)
		case "Roster":
			var r duty.Roster
			err = tree.Decode(&r)
			set.Rosters, docs.rosters = append(set.Rosters, r), append(docs.rosters, d)
		case "Tenant":
			var t Tenant
			err = tree.Decode(&t)
			set.Tenants, docs.tenants = append(set.Tenants, t), append(docs.tenants, d)
		case "Plan":
			var p plan.Plan
			err = tree.Decode(&p)
			p.Complete()
			set.Plans, docs.plans = append(set.Plans, p), append(docs.plans, d)
		}
		if err != nil {
			panic("manifest: the shape of " + k.name + " let through what cannot be decoded: " + err.Error())
		}
		return true
	}
	reason := fmt.Sprintf("unknown kind %s", shape.Told(kindNode, &shape.Shape{}))
	if near := shape.Nearest(kindNode.Value, kindNames(shapes)); near != "" {
		reason += fmt.Sprintf("; did you mean %q?", near)
	}
	tell(kindNode.Line, "kind", strings.Join(kindNames(shapes), ", "), true, reason)
	return false
}

func kindNames(shapes []kind) []string {
	names := make([]string, len(shapes))
	for i, k := range shapes {
		names[i] = k.name
	}
	return names
}

var (
	syntaxForm = regexp.MustCompile(`^(?:yaml: )+(?:line (\d+): )?(.*)`)
	// countedFromZero are the errors of the library's parser, as opposed to its scanner: it counts their lines from 0 and leaves out line 0.
	countedFromZero = regexp.MustCompile(`^(did not find expected (',' or|key|'-' indicator|node content|<)|found undefined tag handle|found duplicate %|found incompatible YAML)`)
)

// trees reads the documents of a file; after an error of the text nothing more can be read of it.
func trees(f File) ([]*yaml.Node, *shape.Problem) {
	var out []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(f.Text))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			p := shape.Problem{File: f.Name, Reason: "this is not YAML: " + err.Error()}
			if m := syntaxForm.FindStringSubmatch(err.Error()); m != nil {
				p.Line, _ = strconv.Atoi(m[1])
				if countedFromZero.MatchString(m[2]) {
					p.Line++
				}
				p.Reason = "this is not YAML: " + m[2]
			}
			return out, &p
		}
		if len(doc.Content) == 1 && doc.Content[0].ShortTag() != "!!null" {
			out = append(out, doc.Content[0])
		}
	}
}

// complete fills in what follows from other fields.
func (s *Site) complete() {
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Name == "" && len(s.Nodes) == 1 {
			n.Name = string(s.Name)
		}
		if n.Host == "" {
			n.Host = "node." + string(s.Name) + ".perdure.internal"
		}
	}
	for i := range s.Gateways {
		g := &s.Gateways[i]
		if g.Name == "" && len(s.Gateways) == 1 {
			g.Name = string(s.Name)
		}
		if g.Host == "" {
			g.Host = "gateway." + string(s.Name) + ".perdure.internal"
		}
	}
}

func (s *System) complete() {
	if m := s.onlyModule(estate.Account); m != nil {
		if !slices.ContainsFunc(s.Modules, func(m Module) bool { return len(m.Paths) > 0 }) {
			m.Paths = []string{"/"}
		}
		for i := range s.Units {
			if s.Units[i].Module == "" {
				s.Units[i].Module = m.Name
			}
		}
	}
	if len(s.Modules) == 1 {
		for i := range s.Deployments {
			if s.Deployments[i].Module == "" {
				s.Deployments[i].Module = s.Modules[0].Name
			}
		}
	}
}

// onlyModule gives the module of the archetype where there is exactly one.
func (s *System) onlyModule(a estate.Archetype) *Module {
	var only *Module
	for i := range s.Modules {
		if s.Modules[i].Archetype != a {
			continue
		}
		if only != nil {
			return nil
		}
		only = &s.Modules[i]
	}
	return only
}
