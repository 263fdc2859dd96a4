package manifest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/calendar"
	"perdure/internal/estate"
	"perdure/internal/incident"
	"perdure/internal/manifest"
	"perdure/internal/plan"
	"perdure/internal/shape"
)

// another is a tenant that has something wherever something can be named, with a mark in every name.
const another = `
apiVersion: perdure/v1
kind: Tenant
name: zzother
---
apiVersion: perdure/v1
kind: System
name: zzother-core
tenant: zzother
hosts: [zzother]
modules: [{name: ledger, archetype: account}]
routingKey: [{header: Account}]
targets: {rto: 1h, rpo: 1h}
deployments: [{site: a}]
groups:
- {name: zzother-g, owner: zzother-a, members: [{id: zzother-a, site: a, role: sync, database: {host: zz.a, port: 5432}, agent: {host: zz.a, port: 7700}}]}
units: [{name: zzother-u, group: zzother-g, slots: 0-1023}]
---
apiVersion: perdure/v1
kind: Function
name: zzother-payments
systems: [zzother-core]
---
apiVersion: perdure/v1
kind: Participant
name: zzother-branch
tenant: zzother
type: branch
systems: [zzother-core]
---
apiVersion: perdure/v1
kind: CommandGroup
name: zzother-command
tenant: zzother
members: [{name: Zz, duties: [lead], phone: "555"}]
---
apiVersion: perdure/v1
kind: Roster
name: zzother-roster
tenant: zzother
timeZone: UTC
duties: [{name: zzother-duty, of: operator, shifts: [{name: all, people: [zz], cron: "0 0 * * *", duration: 24h}]}]
---
apiVersion: perdure/v1
kind: Plan
name: zzother-plan
tenant: zzother
modes: [drill]
steps: [{id: count, manual: {owner: zzother-branch, instruction: Count.}}]
`

// platforms are the platform's own.
const platforms = `
apiVersion: perdure/v1
kind: Plan
name: zzother-platform
modes: [drill]
steps: [{id: count, manual: {owner: operator, instruction: Count.}}]
---
apiVersion: perdure/v1
kind: System
name: zzother-shared
modules: [{name: feed, archetype: compute}]
hosts: [shared]
targets: {rto: 1h, rpo: 1h}
`

func TestPartOfATenantIsAllThatIsItsOwnAndNothingOfAnother(t *testing.T) {
	paths, err := filepath.Glob("../../examples/estate/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(err)
	}
	var files []manifest.File
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, manifest.File{Name: path, Text: text})
	}
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	// All that the example has is the bank's, but for what is everybody's.
	for i := range set.Systems {
		set.Systems[i].Tenant = "bank"
	}
	for i := range set.Plans {
		set.Plans[i].Tenant = "bank"
	}
	for i := range set.Participants {
		if len(set.Participants[i].Systems) > 0 {
			set.Participants[i].Tenant = "bank"
		}
	}
	set.Tenants = []manifest.Tenant{{Name: "bank"}}
	alone := manifest.Export(set)

	// What is everybody's names what is another's too.
	named := 0
	add := func(list *[]estate.SystemID) {
		if len(*list) > 0 {
			*list, named = append(*list, "zzother-core"), named+1
		}
	}
	for i := range set.Functions {
		add(&set.Functions[i].Systems)
	}
	for i := range set.Calendars {
		c := &set.Calendars[i]
		for j := range c.Windows {
			add(&c.Windows[j].Systems)
		}
		c.Windows = append(c.Windows, calendar.Window{Name: "zzother-window", Units: []estate.UnitID{"zzother-u"}, Span: calendar.Span{Cron: "0 0 * * *", Duration: shape.Duration(time.Hour)}})
		c.Cutoffs = append(c.Cutoffs, calendar.Cutoff{Name: "zzother-cut", System: "zzother-core", Cron: "0 17 * * *"})
		c.Schedules = append(c.Schedules,
			calendar.Schedule{Name: "zzother-drill", Plan: "zzother-plan", Mode: plan.Drill, Cron: "0 3 1 1 *", Since: "2026-01-01 00:00", Within: shape.Duration(24 * time.Hour)})
	}
	for i := range set.IncidentRules {
		for j := range set.IncidentRules[i].Classes {
			class := &set.IncidentRules[i].Classes[j]
			for k := range class.Thresholds {
				add(&class.Thresholds[k].Systems)
			}
		}
		last := &set.IncidentRules[i].Classes[len(set.IncidentRules[i].Classes)-1]
		last.Thresholds = append(last.Thresholds, incident.Threshold{Systems: []estate.SystemID{"zzother-core"}})
	}
	if named < 2 || len(set.Calendars) == 0 || len(set.IncidentRules) == 0 {
		t.Fatal("nothing that is everybody's names both")
	}
	whole, err := manifest.Parse(manifest.File{Name: "all", Text: manifest.Export(set)}, manifest.File{Name: "another", Text: []byte(another)}, manifest.File{Name: "shared", Text: []byte(platforms)})
	if err != nil {
		t.Fatal(err)
	}
	part := manifest.Export(whole.Of("bank"))
	if diff := cmp.Diff(string(alone), string(part)); diff != "" {
		t.Errorf("the bank's part is not what it was alone:\n%s", diff)
	}
	if _, err := manifest.Parse(manifest.File{Name: "part", Text: part}); err != nil {
		t.Errorf("the part is no manifest: %v", err)
	}
	theirs := string(manifest.Export(whole.Of("zzother")))
	if strings.Contains(theirs, "corebank") || strings.Contains(theirs, "zzother-platform") || strings.Contains(theirs, "zzother-shared") || !strings.Contains(theirs, "zzother-plan") {
		t.Errorf("the other's part:\n%s", theirs)
	}
	if _, err := manifest.Parse(manifest.File{Name: "part", Text: []byte(theirs)}); err != nil {
		t.Errorf("the other's part is no manifest: %v", err)
	}
	if nobody := string(manifest.Export(whole.Of("west"))); strings.Contains(nobody, "corebank") || strings.Contains(nobody, "zzother") {
		t.Errorf("a tenant that nobody declared has\n%s", nobody)
	}
	// Looking changes nothing.
	if again := string(manifest.Export(whole)); !strings.Contains(again, "zzother-core") || strings.Count(again, "corebank") < strings.Count(string(alone), "corebank") {
		t.Error("the set was changed")
	}
}
