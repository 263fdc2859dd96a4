package person_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/errs"
	"perdure/internal/person"
)

func TestClaimsSayWhoSomebodyIsAndNothingElse(t *testing.T) {
	s := person.SignOn{
		Name: "name", Groups: "groups", Methods: []string{"otp"}, Classes: []string{"gold"},
		Roles: map[string][]string{"a": {"operator", "auditor"}, "b": {"operator"}},
	}
	for name, c := range map[string]struct {
		claims map[string]any
		want   person.Identity
	}{
		"several groups":     {map[string]any{"groups": []any{"b", "a", "x", 7}}, person.Identity{Roles: []string{"auditor", "operator"}}},
		"one text":           {map[string]any{"groups": "x b"}, person.Identity{Roles: []string{"operator"}}},
		"no groups":          {map[string]any{"groups": map[string]any{"a": true}}, person.Identity{}},
		"a method":           {map[string]any{"amr": []any{"pwd", "otp"}}, person.Identity{Factor: true}},
		"another method":     {map[string]any{"amr": []any{"pwd", "otp2"}}, person.Identity{}},
		"a class":            {map[string]any{"acr": "gold"}, person.Identity{Factor: true}},
		"a class in a list":  {map[string]any{"acr": []any{"gold"}}, person.Identity{}},
		"a part of a class":  {map[string]any{"acr": "gold silver"}, person.Identity{}},
		"mail is not a name": {map[string]any{"email": "root@bank.example"}, person.Identity{}},
	} {
		c.claims["name"] = "ann"
		c.want.Issuer, c.want.Subject, c.want.Name = "i", "s", "ann"
		got, err := s.Identify("i", "s", c.claims)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	for name, claims := range map[string]map[string]any{"no name": {}, "a number": {"name": 7}} {
		if _, err := s.Identify("i", "s", claims); errs.KindOf(err) != errs.Forbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Identify("i", "", map[string]any{"name": "ann"}); errs.KindOf(err) != errs.Forbidden {
		t.Errorf("no subject: %v", err)
	}
	s.Tenants = map[string]string{"north-staff": "north", "south-staff": "south", "drc": ""}
	for groups, want := range map[string]person.Identity{"north-staff a": {Tenant: "north", OfTenant: true}, "drc": {OfTenant: true}} {
		got, err := s.Identify("i", "s", map[string]any{"name": "ann", "groups": groups})
		if err != nil || got.Tenant != want.Tenant || got.OfTenant != want.OfTenant {
			t.Errorf("%s: %+v, %v", groups, got, err)
		}
	}
	for _, groups := range []string{"a b", "", "north-staff south-staff", "north-staff drc"} {
		if _, err := s.Identify("i", "s", map[string]any{"name": "ann", "groups": groups}); errs.KindOf(err) != errs.Forbidden {
			t.Errorf("groups %q: %v", groups, err)
		}
	}
	s.Tenants = nil
	// Where nothing says what a second factor is, no token does.
	s.Methods, s.Classes = nil, nil
	if got, err := s.Identify("i", "s", map[string]any{"name": "ann", "amr": []any{"otp"}, "acr": ""}); err != nil || got.Factor {
		t.Errorf("%+v, %v", got, err)
	}
}
