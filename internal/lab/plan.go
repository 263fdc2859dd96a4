package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/link"
	"perdure/internal/lab/load"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
	"perdure/internal/manifest"
	"perdure/internal/shape"
	"perdure/internal/unit"
)

// plan is an estate that is not started yet, and may be changed by the story.
type plan struct {
	estate   string
	set      manifest.Set
	accounts int
	disks    []story.Disk
	latency  []story.Latency
}

// estates are those that come with the lab, by the folder of their manifests below examples.
var estates = map[string]string{"two-city": "estate", "one-unit": "one-unit"}

// lay reads the manifests of an estate.
func (l *Lab) lay(ctx context.Context, name string) error {
	if l.running != nil {
		if err := l.finish(ctx, false); err != nil {
			return err
		}
	}
	dir := name
	if below, ok := estates[name]; ok {
		var err error
		if dir, err = l.examples(below); err != nil {
			return err
		}
	}
	set, err := readSet(dir)
	if err != nil {
		return err
	}
	since(&set, time.Now())
	p := &plan{estate: filepath.Base(name), set: set, accounts: defaultAccounts}
	if l.laid < len(l.accounts) {
		p.accounts = l.accounts[l.laid]
	}
	l.laid++
	l.plan = p
	return nil
}

// since lets schedules begin when the estate does: nothing was missed before.
func since(set *manifest.Set, now time.Time) {
	for i := range set.Calendars {
		c := &set.Calendars[i]
		place, err := time.LoadLocation(c.TimeZone)
		if err != nil {
			continue // the manifest would not have been accepted
		}
		for j := range c.Schedules {
			c.Schedules[j].Since = now.In(place).Format("2006-01-02 15:04")
		}
	}
}

// examples finds a folder of the examples: below the present folder, or beside the program's.
func (l *Lab) examples(below string) (string, error) {
	for _, root := range []string{".", filepath.Join(filepath.Dir(l.o.Binary), ".."), l.o.Source} {
		if root == "" {
			continue
		}
		dir := filepath.Join(root, "examples", below)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", errs.New(errs.NotFound, "examples/%s is neither here nor beside %s: run the lab in the clone", below, l.o.Binary)
}

func readSet(dir string) (manifest.Set, error) {
	names, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if len(names) == 0 {
		return manifest.Set{}, errs.New(errs.NotFound, "estate %s: no such estate, and no folder with *.yaml; there are: one-unit, two-city", dir)
	}
	var files []manifest.File
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return manifest.Set{}, errs.New(errs.Invalid, "cannot read a manifest: %w", err)
		}
		files = append(files, manifest.File{Name: name, Text: text})
	}
	return manifest.Parse(files...)
}

// amend changes the manifest as a story's policy says.
func (p *plan) amend(a story.Policy) error {
	for i := range p.set.Systems {
		s := &p.set.Systems[i]
		for _, u := range s.Units {
			if u.Name != a.Unit {
				continue
			}
			if a.Failover != "" {
				s.Policy.Failover = unit.FailoverPolicy(a.Failover)
			}
			if a.MinInSync >= 0 {
				s.Policy.MinInSync = a.MinInSync
			}
			if a.Health > 0 {
				s.Health.Timeout = shape.Duration(a.Health)
			}
			if a.Damping > 0 {
				s.Policy.Damping = shape.Duration(a.Damping)
			}
			if a.Pin != "" {
				if err := change(s.Group(u.Group), a.Pin, func(m *manifest.Member) { m.Role = unit.PinnedRole }); err != nil {
					return err
				}
			}
			if a.Cold != "" {
				err := change(s.Group(u.Group), a.Cold, func(m *manifest.Member) {
					m.Backup = &manifest.Backup{Every: shape.Duration(coldEvery), Keep: 2}
				})
				if err != nil {
					return err
				}
			}
			return manifest.Check(p.set)
		}
	}
	return errs.New(errs.NotFound, "no unit %q in the estate; there are: %s", a.Unit, strings.Join(p.unitNames(), ", "))
}

// coldEvery is between two base backups of a cold copy in the lab.
const coldEvery = time.Minute

func change(g *manifest.Group, at estate.SiteID, how func(*manifest.Member)) error {
	for i := range g.Members {
		if g.Members[i].Site == at {
			how(&g.Members[i])
			return nil
		}
	}
	return errs.New(errs.NotFound, "group %s has no member at site %s", g.Name, at)
}

func (p *plan) unitNames() []string {
	var names []string
	for _, s := range p.set.Systems {
		for _, u := range s.Units {
			names = append(names, string(u.Name))
		}
	}
	return names
}

// system is the one that gets the load: the first with units.
func (p *plan) system() (*manifest.System, error) {
	for i := range p.set.Systems {
		if len(p.set.Systems[i].Units) > 0 {
			return &p.set.Systems[i], nil
		}
	}
	return nil, errs.New(errs.Invalid, "no system of the estate has units: there is nothing to put load on")
}

// split gives each unit its accounts.
func (p *plan) split() (map[estate.UnitID][]string, error) {
	s, err := p.system()
	if err != nil {
		return nil, err
	}
	return load.SplitAccounts(p.accounts, s.Slots, func(slot estate.Slot) estate.UnitID {
		for _, u := range s.Units {
			if u.Slots.Contains(slot) {
				return u.Name
			}
		}
		return ""
	}), nil
}

// openingBalance of every account, in whole currency units.
const openingBalance = 10_000

// initSQL writes the reference system's schema and the accounts of each group, to be loaded when its database is made.
func (l *Lab) initSQL(dir string) (map[estate.GroupID][]string, error) {
	s, err := l.plan.system()
	if err != nil {
		return nil, err
	}
	split, err := l.plan.split()
	if err != nil {
		return nil, err
	}
	bank, err := l.examples("corebank")
	if err != nil {
		return nil, err
	}
	schema, err := filepath.Abs(filepath.Join(bank, "schema.sql"))
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot find the schema: %w", err)
	}
	files := map[estate.GroupID][]string{}
	for _, g := range s.Groups {
		var b strings.Builder
		// Accounts are opened before anything owns the database, so the guard's triggers are passed by.
		b.WriteString("set session_replication_role = replica;\n")
		for _, u := range s.UnitsOf(g.Name) {
			for part := range slices.Chunk(split[u], 500) {
				b.WriteString("insert into corebank.account (id, slot, opening, balance) values\n")
				for i, account := range part {
					if i > 0 {
						b.WriteString(",\n")
					}
					fmt.Fprintf(&b, "  ('%s', %d, %d, %[3]d)", account, estate.SlotOf([]byte(account), s.Slots), openingBalance)
				}
				b.WriteString(";\n")
			}
		}
		b.WriteString(customersSQL + "reset session_replication_role;\nanalyze corebank.account;\n")
		file := filepath.Join(dir, "accounts-"+string(g.Name)+".sql")
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			return nil, errs.New(errs.Unavailable, "cannot lay out the estate: %w", err)
		}
		files[g.Name] = []string{schema, file}
	}
	return files, nil
}

// customersSQL makes up whose the accounts are: of their names there are fewer than of them, as it is with people.
const customersSQL = `insert into corebank.customer (account, name, phone, document)
select a.id, (array['王','李','张','刘','陈','杨','赵','黄','周','吴'])[1 + n % 10] || (array['伟','芳','娜','敏','静','强','磊','洋','艳','勇','军'])[1 + n / 10 % 11],
  '138' || lpad((n % 100000000)::text, 8, '0'), '1101011990' || lpad((n % 100000000)::text, 8, '0')
from corebank.account a, abs(hashtext(a.id)::bigint) n;
`

// Latencies between sites where nobody says otherwise.
const (
	cityLatency   = 500 * time.Microsecond
	remoteLatency = 15 * time.Millisecond
)

// delays gives the latency of each direction: short inside a city, long between cities.
func delays(l *site.Layout) func(link.Path) time.Duration {
	return func(p link.Path) time.Duration {
		if l.Set.Sites[p.From-1].City == l.Set.Sites[p.To-1].City {
			return cityLatency
		}
		return remoteLatency
	}
}
