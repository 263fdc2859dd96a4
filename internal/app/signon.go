package app

import (
	"cmp"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/person"
	"perdure/internal/pki"
	"perdure/internal/signon"
	"perdure/internal/wire"
)

// defaultSkew is how far the clock of a provider may differ.
const defaultSkew = time.Minute

// provider makes the provider of single sign-on; nil: there is none. It asks it nothing yet: a node starts without it.
func (o *OIDC) provider() (*signon.Provider, error) {
	if o == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	issuer, err := url.Parse(o.Issuer)
	switch {
	case err != nil || issuer.Host == "" || issuer.Scheme != "https" && !(issuer.Scheme == "http" && issuer.Hostname() == "127.0.0.1"):
		return nil, errs.New(errs.Invalid, "oidc.issuer %q is not a URL such as https://sso.bank.example/realms/bank", o.Issuer)
	case o.ClientID == "":
		return nil, errs.New(errs.Invalid, "oidc.clientID is missing: the name of this client at the provider")
	case len(o.Roles) == 0:
		return nil, errs.New(errs.Invalid, "oidc.roles is missing: without it no group gives a role, and nobody could sign on")
	}
	for group, roles := range o.Roles {
		for _, r := range roles {
			if !slices.Contains(wire.Roles(), wire.Role(r)) {
				return nil, errs.New(errs.Invalid, "oidc.roles: group %q gives %q, which is not one of participant, viewer, driller, operator, commander, auditor, admin", group, r)
			}
		}
	}
	secret, err := reference("oidc.clientSecret", o.ClientSecret)
	if err != nil {
		return nil, err
	}
	options := signon.Options{
		Issuer: o.Issuer, ClientID: o.ClientID, Secret: secret, Scopes: o.Scopes, Audience: o.Audience, Skew: cmp.Or(o.Skew, defaultSkew),
		Meaning: person.SignOn{Name: cmp.Or(o.NameClaim, "preferred_username"), Groups: cmp.Or(o.GroupsClaim, "groups"), Roles: o.Roles, Tenants: o.Tenants, Methods: o.FactorMethods, Classes: o.FactorClasses},
	}
	if options.Scopes == nil {
		options.Scopes = []string{"openid", "profile", "groups"}
	}
	if o.CA != "" {
		if options.TLS, err = (pki.Files{CA: o.CA}).ClientTLS(); err != nil {
			return nil, errs.New(errs.Invalid, "cannot use oidc.ca: %w", err)
		}
	}
	return signon.New(options)
}

// reference reads a secret that a configuration names and does not hold: env:NAME or file:PATH.
func reference(field, text string) (string, error) {
	kind, name, _ := strings.Cut(text, ":")
	var secret string
	switch {
	case text == "":
		return "", nil
	case kind == "env" && name != "":
		secret = os.Getenv(name)
	case kind == "file" && name != "":
		data, err := os.ReadFile(name)
		if err != nil {
			return "", errs.New(errs.Invalid, "%s: cannot read the secret: %w", field, err)
		}
		secret = string(data)
	default:
		return "", errs.New(errs.Invalid, "%s names a secret and does not hold it: give env:NAME or file:PATH", field)
	}
	if secret = strings.TrimSpace(secret); secret == "" {
		return "", errs.New(errs.Invalid, "%s: %s is empty", field, text)
	}
	return secret, nil
}
