package duty

import (
	"perdure/internal/calendar"
	"perdure/internal/estate"
	"perdure/internal/shape"
)

// Roster is one document of the manifest. Its times are those on the wall of TimeZone, an IANA name such as Asia/Shanghai.
type Roster struct {
	Name  string `yaml:"name" json:"name"`
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// Tenant is the institution that it is of; empty: of all.
	Tenant   estate.TenantID `yaml:"tenant,omitempty" json:"tenant,omitempty"`
	TimeZone string          `yaml:"timeZone" json:"timeZone"`
	Duties   []Duty          `yaml:"duties" json:"duties"`
}

// Duty is something that somebody is on duty for. Plans ask it by its name.
type Duty struct {
	Name  string `yaml:"name" json:"name"`
	Title string `yaml:"title,omitempty" json:"title,omitempty"`
	// Of is the role or the participant that it is a duty of (U2).
	Of string `yaml:"of" json:"of"`
	// PartTime: times without anybody are meant, and are no findings.
	PartTime bool `yaml:"partTime,omitempty" json:"partTime,omitempty"`
	// Overlaps: times with two shifts at once are meant, such as hand-overs.
	Overlaps      bool           `yaml:"overlaps,omitempty" json:"overlaps,omitempty"`
	Shifts        []Shift        `yaml:"shifts" json:"shifts"`
	Substitutions []Substitution `yaml:"substitutions,omitempty" json:"substitutions,omitempty"`
}

// Shift is a time in which people are on duty, all of them at once.
type Shift struct {
	Name          string   `yaml:"name" json:"name"`
	People        []string `yaml:"people" json:"people"`
	calendar.Span `yaml:",inline"`
}

// Substitution: By is on duty in the place of Person, From to Until, in all shifts of the duty that Person has then.
type Substitution struct {
	Person string `yaml:"person" json:"person"`
	By     string `yaml:"by" json:"by"`
	From   string `yaml:"from" json:"from"`
	Until  string `yaml:"until" json:"until"`
	Reason string `yaml:"reason,omitempty" json:"reason,omitempty"`
}

const (
	dutyPattern   = `^[a-z]([a-z0-9-]{0,62}[a-z0-9])?$`
	dutyAllowed   = "lower-case letters, digits and hyphens, a letter first, at most 64"
	personPattern = `^[A-Za-z0-9._-]{1,128}$`
	personAllowed = "the name of a user, or of a token"
)

// Shape is what a document of kind Roster may look like; head are the fields that every document has.
func Shape(head []shape.Field) shape.Shape {
	person := shape.Formed(personPattern, personAllowed, 128)
	return shape.AnObject(append(head,
		shape.Field{Name: "name", Doc: "Name of the roster.", Shape: shape.Name(shape.NameAllowed), Required: true},
		shape.Field{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
		shape.Field{Name: "tenant", Doc: "Institution that it is of; by default it is of all.", Shape: shape.Name("the name of a tenant")},
		shape.Field{Name: "timeZone", Doc: "Time zone of all of its times.", Shape: calendar.PlaceShape(), Required: true},
		shape.Field{Name: "duties", Doc: "What somebody is on duty for.", Shape: shape.AList("duties", 1, 200, shape.AnObject([]shape.Field{
			{Name: "name", Doc: "Name of the duty, unique in the estate; plans ask it by it, so it is neither a role nor a participant.", Shape: shape.Formed(dutyPattern, dutyAllowed, 64), Required: true},
			{Name: "title", Doc: "Name for people.", Shape: shape.Title()},
			{Name: "of", Doc: "Role or participant that it is a duty of: only who has it, or belongs to it, answers; all of them do while nobody is on duty.", Shape: shape.Formed(dutyPattern, "a role or the name of a participant", 64), Required: true},
			{Name: "partTime", Doc: "Times without anybody on duty are meant.", Shape: shape.Flag()},
			{Name: "overlaps", Doc: "Times with two shifts at once are meant.", Shape: shape.Flag()},
			{Name: "shifts", Doc: "Times, and who is on duty then. Where two overlap, the people of both are.", Shape: shape.AList("shifts", 1, 200, calendar.Spanned(
				shape.Field{Name: "name", Doc: "Name of the shift, unique in the duty.", Shape: shape.Name(shape.NameAllowed), Required: true},
				shape.Field{Name: "people", Doc: "Users who are on duty.", Shape: ordered(shape.AList("names of users", 1, 32, person, nil)), Required: true},
			), shape.By("name")), Required: true},
			{Name: "substitutions", Doc: "Who stands in for whom.", Shape: ordered(shape.AList("substitutions", 0, 500, shape.AnObject([]shape.Field{
				{Name: "person", Doc: "Whose place is taken.", Shape: person, Required: true},
				{Name: "by", Doc: "Who takes it.", Shape: person, Required: true},
				{Name: "from", Doc: "When it begins.", Shape: calendar.WallShape(), Required: true},
				{Name: "until", Doc: "When it ends.", Shape: calendar.WallShape(), Required: true},
				{Name: "reason", Doc: "Why.", Shape: shape.Title()},
			}), nil))},
		}), shape.By("name")), Required: true},
	))
}

func ordered(s shape.Shape) shape.Shape {
	s.Ordered = true
	return s
}
