package rectification

import "time"

// Why says what a sheet waits for a person for.
type Why string

// What a sheet may wait for.
const (
	Owned    Why = "rectification" // an item is theirs
	Unowned  Why = "assignment"    // an item is nobody's
	Retested Why = "retest"        // an item was put right, by somebody else
)

// Ask is one thing that a sheet waits for.
type Ask struct {
	Why   Why
	Item  *Item
	Since time.Time
}

// Person is what has to be known of somebody to say what waits for them.
type Person struct {
	Name string
	// Holds reports whether they have a role, or a duty now.
	Holds func(name string) bool
	// Steers: they may assign, and confirm re-tests.
	Steers bool
}

// WaitsFor gives what a sheet waits for a person for.
func (s *Sheet) WaitsFor(p Person) []Ask {
	var out []Ask
	for n := range s.Items {
		i := &s.Items[n]
		a := Ask{Item: i, Since: s.OpenedAt}
		switch i.State() {
		case Open:
			switch {
			case i.Owner == p.Name && i.Owner != "", i.Owner != "" && p.Holds(i.Owner):
				a.Why = Owned
			case i.Owner == "" && p.Steers:
				a.Why = Unowned
			}
		case Corrected:
			if p.Steers && i.Corrected.By != p.Name {
				a.Why, a.Since = Retested, i.Corrected.At
			}
		case Closed, Accepted:
		}
		if a.Why != "" {
			out = append(out, a)
		}
	}
	return out
}
