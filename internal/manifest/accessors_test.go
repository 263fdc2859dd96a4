package manifest_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/route"
	"perdure/internal/unit"
)

func TestUnitIsPlacedOnEveryMemberOfItsGroupHomeFirst(t *testing.T) {
	set, err := manifest.Parse(exampleEstate(t)...)
	if err != nil {
		t.Fatal(err)
	}
	system, u2 := set.Unit("u2")
	want := []manifest.Placement{
		{Module: "ledger", Site: "b", Member: "u2-b", Home: true, Deployed: true},
		{Module: "ledger", Site: "a", Member: "u2-a", Deployed: true},
		{Module: "ledger", Site: "c", Member: "u2-c", Deployed: true},
	}
	if diff := cmp.Diff(want, system.Placements(u2)); diff != "" {
		t.Error(diff)
	}
}

func TestTwoUnitsAtOneSiteAreOneDeployment(t *testing.T) {
	set, err := manifest.Parse(exampleEstate(t)...)
	if err != nil {
		t.Fatal(err)
	}
	system, u1 := set.Unit("u1")
	_, u2 := set.Unit("u2")
	a, b := system.Placements(u1), system.Placements(u2)
	if system.Deployment(a[1].Module, a[1].Site) != system.Deployment(b[0].Module, b[0].Site) {
		t.Error("u1 and u2 at site b are served by different deployments")
	}
}

func TestRelationOfSitesFollowsFromTheirCities(t *testing.T) {
	set, err := manifest.Parse(exampleEstate(t)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a, b estate.SiteID
		want estate.Relation
	}{{"a", "a", estate.SameSite}, {"a", "b", estate.SameCity}, {"b", "c", estate.Remote}, {"a", "nowhere", estate.Remote}} {
		if got := set.Relation(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

// The layouts of docs/operations/control-plane.md that survive the loss of any city: its nodes are a minority.
func TestWitnessLayoutsSurviveTheLossOfACity(t *testing.T) {
	for name, layout := range map[string]struct {
		text     string
		survives bool
	}{
		"A, C, W":        {site("a", "east") + site("c", "west") + site("w", "south\nwitness: true"), true},
		"A, B, C, C2, W": {site("a", "east") + site("b", "east") + site("c", "west") + site("c2", "west") + site("w", "south\nwitness: true"), true},
		"A, B, C":        {site("a", "east") + site("b", "east") + site("c", "west"), false},
		"A":              {site("a", "east"), false},
	} {
		set, err := manifest.Parse(manifest.File{Name: "sites.yaml", Text: []byte(layout.text)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		nodes, most := 0, 0
		cities := map[string]int{}
		for _, s := range set.Sites {
			nodes += len(s.Nodes)
			cities[s.City] += len(s.Nodes)
			most = max(most, cities[s.City])
		}
		if survives := 2*(nodes-most) > nodes; survives != layout.survives {
			t.Errorf("%s: %d of %d nodes in one city", name, most, nodes)
		}
	}
	for name, text := range map[string]string{
		"A, W":       site("a", "east") + site("w", "south\nwitness: true"),
		"A, B, C, W": site("a", "east") + site("b", "east") + site("c", "west") + site("w", "south\nwitness: true"),
	} {
		if _, err := manifest.Parse(manifest.File{Name: "sites.yaml", Text: []byte(text)}); err == nil || !strings.Contains(err.Error(), "1, 3 or 5 nodes") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func site(name, city string) string {
	return "---\napiVersion: perdure/v1\nkind: Site\nname: " + name + "\ncity: " + city + "\nnodes: [{}]\n"
}

func TestRecordsStartClosedAndUnowned(t *testing.T) {
	set, err := manifest.Parse(exampleEstate(t)...)
	if err != nil {
		t.Fatal(err)
	}
	records := set.Records()
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	member := func(id estate.MemberID, site estate.SiteID, role unit.Role) unit.Member {
		host := "u1." + string(site) + ".perdure.internal"
		return unit.Member{ID: id, Site: site, Role: role, Agent: host + ":7700", Database: host + ":7800"}
	}
	want := unit.Record{
		Group: "u1", System: "corebank", Units: []estate.UnitID{"u1"}, State: unit.Closed, Owner: estate.Life{Member: "u1-a"},
		Policy:  unit.Policy{Failover: unit.Auto, Damping: 8 * time.Second, Retention: 168 * time.Hour},
		Members: []unit.Member{member("u1-a", "a", unit.SyncRole), member("u1-b", "b", unit.SyncRole), member("u1-c", "c", unit.AsyncRole)},
	}
	if diff := cmp.Diff(want, records[0]); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsOfASystemReachTheRouteTable(t *testing.T) {
	files := exampleEstate(t)
	for i := range files {
		files[i].Text = setLine(files[i].Text, "idempotency", "{header: X-Request-Id, required: false}")
		files[i].Text = setLine(files[i].Text, "health", "{path: /ready, interval: 250ms, timeout: 300ms, failures: 4}")
	}
	set, err := manifest.Parse(files...)
	if err != nil {
		t.Fatal(err)
	}
	systems, instances := set.Routes()
	instances = append(instances, route.Instance{ID: "registered", System: "corebank", Site: "a", Address: "http://app.a:7600"})
	table, err := route.Compile(route.Input{Version: 1, Systems: systems, Instances: instances})
	if err != nil {
		t.Fatal(err)
	}
	if s := table.Systems[0]; s.KeyHeader != "X-Request-Id" || s.RequireKey {
		t.Errorf("key header %q, required %v", s.KeyHeader, s.RequireKey)
	}
	if len(table.Instances) != len(instances) {
		t.Fatalf("%d of %d instances", len(table.Instances), len(instances))
	}
	for _, in := range table.Instances {
		if in.Health != "/ready" || in.HealthEvery != 250*time.Millisecond || in.HealthTimeout != 300*time.Millisecond || in.HealthFailures != 4 {
			t.Errorf("instance %s: %s every %s, %s to answer, down after %d", in.ID, in.Health, in.HealthEvery, in.HealthTimeout, in.HealthFailures)
		}
	}
}

func TestHeaderThatMeansSomethingElseCannotCarryTheKey(t *testing.T) {
	for _, header := range []string{"Host", "perdure_caller", "Content-Length", "Cookie"} {
		files := exampleEstate(t)
		for i := range files {
			files[i].Text = setLine(files[i].Text, "idempotency", "{header: "+header+"}")
		}
		if _, err := manifest.Parse(files...); err == nil || !strings.Contains(err.Error(), "idempotency.header") {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// setLine writes another value behind a field that stands on one line.
func setLine(text []byte, field, value string) []byte {
	return regexp.MustCompile(`(?m)^`+field+`: .*$`).ReplaceAll(text, []byte(field+": "+value))
}

func TestEveryAcceptedManifestCompilesToARouteTable(t *testing.T) {
	sets := [][]manifest.File{exampleEstate(t)}
	for _, text := range corpus(t) {
		sets = append(sets, []manifest.File{{Name: "x.yaml", Text: text}})
	}
	compiled := 0
	for _, files := range sets {
		set, err := manifest.Parse(files...)
		if err != nil {
			continue
		}
		systems, instances := set.Routes()
		table, err := route.Compile(route.Input{Version: 1, Systems: systems, Instances: instances})
		if err != nil {
			t.Errorf("%s: %v", files[0].Text, err)
			continue
		}
		if len(table.Notes) > 0 {
			t.Errorf("%s: %v", files[0].Text, table.Notes)
		}
		compiled += len(systems)
	}
	if compiled < 5 {
		t.Errorf("only %d systems were compiled", compiled)
	}
}
