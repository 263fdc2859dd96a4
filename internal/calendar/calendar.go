package calendar

import (
	"slices"

	"perdure/internal/estate"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// Calendar is one document of the manifest. Its times are those on the wall of TimeZone, an IANA name such as Asia/Shanghai.
type Calendar struct {
	Name      string     `yaml:"name" json:"name"`
	Title     string     `yaml:"title,omitempty" json:"title,omitempty"`
	TimeZone  string     `yaml:"timeZone" json:"timeZone"`
	Windows   []Window   `yaml:"windows,omitempty" json:"windows,omitempty"`
	Freezes   []Freeze   `yaml:"freezes,omitempty" json:"freezes,omitempty"`
	Cutoffs   []Cutoff   `yaml:"cutoffs,omitempty" json:"cutoffs,omitempty"`
	Schedules []Schedule `yaml:"schedules,omitempty" json:"schedules,omitempty"`
}

// Window is a time in which runs of modes that need a window may begin. It is for what all of its lists name; an empty list names everything.
type Window struct {
	Name    string            `yaml:"name" json:"name"`
	Title   string            `yaml:"title,omitempty" json:"title,omitempty"`
	Modes   []plan.Mode       `yaml:"modes,omitempty" json:"modes,omitempty"`
	Systems []estate.SystemID `yaml:"systems,omitempty" json:"systems,omitempty"`
	Units   []estate.UnitID   `yaml:"units,omitempty" json:"units,omitempty"`
	Plans   []string          `yaml:"plans,omitempty" json:"plans,omitempty"`
	Span    `yaml:",inline"`
}

// Span is a time that comes again, from each time of Cron for Duration, or comes once, From to Until ("2026-12-28 18:00").
type Span struct {
	Cron     string         `yaml:"cron,omitempty" json:"cron,omitempty"`
	Duration shape.Duration `yaml:"duration,omitempty" json:"duration,omitempty"`
	From     string         `yaml:"from,omitempty" json:"from,omitempty"`
	Until    string         `yaml:"until,omitempty" json:"until,omitempty"`
}

// Freeze is a time 封网期 in which runs of some modes do not begin, by default of all that people or the platform choose the time of.
type Freeze struct {
	Name   string      `yaml:"name" json:"name"`
	Reason string      `yaml:"reason" json:"reason"`
	Modes  []plan.Mode `yaml:"modes,omitempty" json:"modes,omitempty"`
	Span   `yaml:",inline"`
}

// Cutoff is when a day of a system ends 日切, or what has to be settled by then 清算截止.
type Cutoff struct {
	Name   string          `yaml:"name" json:"name"`
	System estate.SystemID `yaml:"system" json:"system"`
	Cron   string          `yaml:"cron" json:"cron"`
}

// Schedule is what has to be done again and again. From each time of Cron on it is due, for Within; then it is overdue.
type Schedule struct {
	Name       string         `yaml:"name" json:"name"`
	Plan       string         `yaml:"plan" json:"plan"`
	Mode       plan.Mode      `yaml:"mode" json:"mode"`
	Parameters map[string]any `yaml:"parameters,omitempty" json:"parameters,omitempty"`
	Cron       string         `yaml:"cron" json:"cron"`
	// Since: times before it do not count.
	Since  string         `yaml:"since" json:"since"`
	Within shape.Duration `yaml:"within" json:"within"`
}

// windowed are the modes whose runs need a window, freezable those that a freeze may forbid.
func windowed() []plan.Mode {
	return slices.DeleteFunc(plan.Modes(), func(m plan.Mode) bool { return plan.ContractOf(m).Trigger != plan.InWindow })
}

func freezable() []plan.Mode {
	return slices.DeleteFunc(plan.Modes(), func(m plan.Mode) bool {
		t := plan.ContractOf(m).Trigger
		return t == plan.Unplanned || t == plan.Automatic
	})
}

// Complete makes parameters what JSON gives back.
func (c *Calendar) Complete() {
	for i := range c.Schedules {
		for name, v := range c.Schedules[i].Parameters {
			c.Schedules[i].Parameters[name] = plan.Plain(v)
		}
	}
}
