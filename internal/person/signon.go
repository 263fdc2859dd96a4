package person

import (
	"slices"
	"strings"

	"perdure/internal/errs"
)

// SignOn says what the tokens of a provider of single sign-on mean here.
type SignOn struct {
	// Name and Groups are the claims that hold a person's name and their groups.
	Name, Groups string
	// Roles are those that a group gives; groups that are not named give none.
	Roles map[string][]string
	// Tenants are the institutions whose people are in a group, "" for the platform's own. Where there are any, everybody is in a group of one of them.
	Tenants map[string]string
	// Methods (amr) and Classes (acr) say that a second factor was shown: any of them does. Without any, no token says so.
	Methods, Classes []string
}

// Identity is who a provider says that somebody is. Issuer and Subject are the person; the name is what they are called by here at first.
type Identity struct {
	Issuer, Subject, Name string
	Roles                 []string // in order, each once
	// Tenant is the institution whose person they are, empty: the platform's own; OfTenant: the provider says so, else nobody does.
	Tenant   string
	OfTenant bool
	Factor   bool
}

// Identify reads the claims of a token that was verified. Errors: Forbidden.
func (s SignOn) Identify(issuer, subject string, claims map[string]any) (Identity, error) {
	id := Identity{Issuer: issuer, Subject: subject}
	if id.Name, _ = claims[s.Name].(string); id.Name == "" || subject == "" {
		return id, errs.New(errs.Forbidden, "the provider says not who you are: the token has no claim %q; its administrator adds it, or the node names another one (oidc.nameClaim)", s.Name)
	}
	for _, group := range texts(claims[s.Groups]) {
		id.Roles = append(id.Roles, s.Roles[group]...)
	}
	var tenants []string
	for _, group := range texts(claims[s.Groups]) {
		if tenant, ok := s.Tenants[group]; ok && !slices.Contains(tenants, tenant) {
			tenants = append(tenants, tenant)
		}
	}
	switch {
	case len(tenants) > 1:
		return id, errs.New(errs.Forbidden, "your groups are of several tenants, and a person is of one: ask whoever keeps the groups (oidc.tenants)")
	case len(tenants) == 1:
		id.Tenant, id.OfTenant = tenants[0], true
	case len(s.Tenants) > 0:
		return id, errs.New(errs.Forbidden, "none of your groups says of which tenant you are: ask whoever keeps the groups (oidc.tenants)")
	}
	slices.Sort(id.Roles)
	id.Roles = slices.Compact(id.Roles)
	has := func(allowed []string, said any) bool {
		return slices.ContainsFunc(texts(said), func(one string) bool { return slices.Contains(allowed, one) })
	}
	class, _ := claims["acr"].(string)
	id.Factor = has(s.Methods, claims["amr"]) || class != "" && slices.Contains(s.Classes, class)
	return id, nil
}

// texts reads a claim of several texts, which some providers write as one.
func texts(claim any) []string {
	switch v := claim.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var out []string
		for _, one := range v {
			if text, ok := one.(string); ok {
				out = append(out, text)
			}
		}
		return out
	}
	return nil
}
