package incident

import "time"

// Why says what an incident waits for a person for.
type Why string

// What an incident may wait for.
const (
	Declaration Why = "declaration"
	TaskOpen    Why = "task"
	ReviewOpen  Why = "review"
	Closing     Why = "closure"
)

// Ask is one thing that an incident waits for.
type Ask struct {
	Why Why
	// Task is the name of the task, For whose it is.
	Task, For, Text string
	Since           time.Time
	Due             time.Time // zero where it has no clock
}

// Person is what has to be known of somebody to say what waits for them.
type Person struct {
	Name string
	// Holds reports whether they have a role.
	Holds func(role string) bool
	// Steers: they may declare and close; Reviews: they may review.
	Steers, Reviews bool
}

// WaitsFor gives what an incident waits for a person for.
func (v *View) WaitsFor(p Person) []Ask {
	if v.Phase == Over || v.Phase == Joined {
		return nil
	}
	if v.Incident.Declared == nil {
		if !p.Steers {
			return nil
		}
		a := Ask{Why: Declaration, Text: v.Title, Since: v.OpenedAt}
		if v.Declare != nil && v.Declare.Within > 0 {
			a.Due = v.Affected.DetectedAt.Add(v.Declare.Within)
		}
		return []Ask{a}
	}
	var out []Ask
	open := false
	for _, t := range v.Tasks {
		if t.State != Pending && t.State != Late {
			continue
		}
		open = true
		if t.Owner == p.Name || p.Holds(t.Owner) {
			out = append(out, Ask{Why: TaskOpen, Task: t.Name, For: t.Owner, Text: t.Title, Since: v.Incident.Declared.At, Due: t.Due})
		}
	}
	switch {
	case v.Until.IsZero():
	case v.Incident.Review == nil:
		if p.Reviews && v.Incident.Declared.By != p.Name {
			out = append(out, Ask{Why: ReviewOpen, Text: v.Title, Since: v.Until})
		}
	case !open && p.Steers:
		out = append(out, Ask{Why: Closing, Text: v.Title, Since: v.Incident.Review.At})
	}
	return out
}
