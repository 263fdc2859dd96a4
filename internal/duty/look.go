package duty

import (
	"fmt"
	"slices"
	"time"
)

// How far ahead gaps are told, and how far is looked for who comes next.
const (
	gapsAhead = 14 * 24 * time.Hour
	ahead     = 62 * 24 * time.Hour
)

// mostGaps bounds the gaps of one duty that are told.
const mostGaps = 10

// View is who is on duty at one instant. Times are those of the roster's place.
type View struct {
	At     time.Time  `json:"at"`
	Duties []Standing `json:"duties"`
	// Findings are what somebody has to see to: gaps ahead, and people who are on duty and could not answer.
	Findings []Finding `json:"findings"`
}

// Standing is how a duty stands.
type Standing struct {
	Roster string   `json:"roster"`
	Name   string   `json:"name"`
	Title  string   `json:"title,omitempty"`
	Of     string   `json:"of"`
	People []Person `json:"people"` // empty: nobody is on duty
	// Until is when others are on duty, zero: not within two months, and Next who then.
	Until time.Time `json:"until,omitzero"`
	Next  []Person  `json:"next,omitempty"`
}

// Finding is one thing that somebody has to see to.
type Finding struct {
	Duty string `json:"duty"`
	// Gap is a time without anybody, nil: it is about Person.
	Gap *Gap `json:"gap,omitempty"`
	// Person is on duty from From on and cannot answer, for Reason.
	Person string    `json:"person,omitempty"`
	From   time.Time `json:"from,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// Look says who is on duty, and what has to be seen to. able says why somebody could not answer for a role or participant, "" where they could;
// nil asks nobody.
func (b *Book) Look(now time.Time, able func(person, of string) string) View {
	v := View{At: now.UTC(), Duties: []Standing{}, Findings: []Finding{}}
	for i := range b.duties {
		d := &b.duties[i]
		list := d.stretches(now, now.Add(ahead))
		s := d.standing(list)
		v.Duties = append(v.Duties, s)
		if !d.PartTime {
			for _, g := range gaps(list, now.Add(gapsAhead), mostGaps) {
				v.Findings = append(v.Findings, Finding{Duty: d.Name, Gap: &g})
			}
		}
		if able == nil {
			continue
		}
		var told []string
		tell := func(people []Person, from time.Time) {
			for _, p := range people {
				if why := able(p.Name, d.Duty.Of); why != "" && !slices.Contains(told, p.Name) {
					told = append(told, p.Name)
					v.Findings = append(v.Findings, Finding{Duty: d.Name, Person: p.Name, From: from, Reason: why})
				}
			}
		}
		tell(s.People, now.UTC())
		tell(s.Next, s.Until)
	}
	return v
}

// On gives how one duty stands; ok is false where there is none of the name.
func (b *Book) On(name string, now time.Time) (s Standing, ok bool) {
	d := b.find(name)
	if d == nil {
		return s, false
	}
	return d.standing(d.stretches(now, now.Add(ahead))), true
}

func (d *duty) standing(list []stretch) Standing {
	s := Standing{Roster: d.roster, Name: d.Name, Title: d.Title, Of: d.Duty.Of, People: append([]Person{}, list[0].people...)}
	s.Until, s.Next = change(list)
	return s
}

// words writes an instant on the clock of its place.
func words(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// String writes a gap for people.
func (g Gap) String() string {
	if g.Until.IsZero() {
		return "from " + words(g.From) + " on"
	}
	return fmt.Sprintf("from %s until %s", words(g.From), words(g.Until))
}
