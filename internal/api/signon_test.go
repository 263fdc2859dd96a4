package api_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"perdure/internal/person"
	"perdure/internal/plan"
	"perdure/internal/run"
	"perdure/internal/signon"
	"perdure/internal/signon/signontest"
	"perdure/internal/wire"
)

const (
	redirect = "http://127.0.0.1:49152/callback"
	nonce    = "a-nonce-of-the-command-line"
)

func newIDP(t *testing.T) *signontest.Provider {
	t.Helper()
	return signontest.Start(t)
}

// newProvider is what a node knows of the provider.
func newProvider(t *testing.T, idp *signontest.Provider, tune ...func(*signon.Options)) *signon.Provider {
	t.Helper()
	o := signon.Options{
		Issuer: idp.Issuer(), ClientID: idp.ClientID, Secret: idp.ClientSecret, Scopes: []string{"openid", "profile", "groups"}, Skew: time.Minute,
		Meaning: person.SignOn{
			Name: "preferred_username", Groups: "groups", Methods: []string{"otp"}, Classes: []string{"gold"},
			Roles: map[string][]string{"drc-commanders": {"commander"}, "drc-operators": {"operator"}, "audit": {"auditor"}},
		},
	}
	for _, f := range tune {
		f(&o)
	}
	p, err := signon.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// code has the provider send a code for who signs on next.
func (n *node) code(idp *signontest.Provider, nonce, verifier string) wire.SignOn {
	n.t.Helper()
	c := oauth2.Config{ClientID: idp.ClientID, Endpoint: oauth2.Endpoint{AuthURL: idp.AuthorizationEndpoint()}, RedirectURL: redirect, Scopes: []string{"openid", "profile", "groups"}}
	back, err := url.Parse(signontest.Browse(n.t.Context(), n.t, c.AuthCodeURL("state-1", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce))))
	if err != nil || back.Query().Get("state") != "state-1" {
		n.t.Fatalf("%v, %v", back, err)
	}
	return wire.SignOn{Code: back.Query().Get("code"), Verifier: verifier, Nonce: nonce, Redirect: redirect}
}

// signsOn is who signs on next.
func (n *node) signsOn(idp *signontest.Provider) (*caller, wire.NewSession) {
	n.t.Helper()
	var in wire.NewSession
	n.as("").want(200, "POST", "/api/v1/oidc/login", n.code(idp, nonce, oauth2.GenerateVerifier())).into(n.t, &in)
	return n.as(in.Secret), in
}

func TestSignOnMakesAPersonOfASubjectWithTheRolesOfTheirGroups(t *testing.T) {
	idp := newIDP(t)
	n := startWith(t, newProvider(t, idp))
	var info wire.SignOnInfo
	n.as("").want(200, "GET", "/api/v1/oidc", nil).into(t, &info)
	if info.Issuer != idp.Issuer() || info.ClientID != idp.ClientID || !info.Device || !slices.Contains(info.Scopes, "openid") {
		t.Errorf("%+v", info)
	}
	idp.Person("sub-ann", "ann", "drc-operators", "audit", "canteen")
	ann, in := n.signsOn(idp)
	if in.User != "ann" || !slices.Equal(in.Roles, []wire.Role{wire.Auditor, wire.Operator}) || in.Factor != 0 || in.Issuer != idp.Issuer() {
		t.Errorf("%+v", in)
	}
	ann.want(200, "GET", "/api/v1/events", nil)
	ann.want(403, "GET", "/api/v1/users", nil)

	// The groups are read anew: what was taken away is gone in the sessions that there are too.
	idp.Person("sub-ann", "ann-has-married", "drc-operators")
	_, in = n.signsOn(idp)
	if in.User != "ann" || !slices.Equal(in.Roles, []wire.Role{wire.Operator}) {
		t.Errorf("%+v", in)
	}
	ann.want(403, "GET", "/api/v1/events", nil)
	ann.want(200, "GET", "/api/v1/runs", nil)

	// An administrator narrows, and never widens.
	admin := n.as("admin")
	admin.want(200, "PUT", "/api/v1/users/ann/roles", map[string][]wire.Role{"roles": {wire.Driller, wire.Admin}})
	ann.want(200, "GET", "/api/v1/runs", nil)
	admin.want(200, "PUT", "/api/v1/users/ann/roles", map[string][]wire.Role{"roles": {wire.Driller}})
	idp.Person("sub-ann", "ann", "drc-commanders", "audit")
	if _, in = n.signsOn(idp); !slices.Equal(in.Roles, []wire.Role{wire.Driller}) {
		t.Errorf("roles beyond the limit: %v", in.Roles)
	}

	// Without a group that gives a role nobody is let in, and the sessions end.
	idp.Person("sub-ann", "ann", "canteen")
	r := n.as("").do("POST", "/api/v1/oidc/login", n.code(idp, nonce, oauth2.GenerateVerifier()))
	if r.status != 403 || !strings.Contains(string(r.body), "none of the groups of ann") {
		t.Errorf("%d %s", r.status, r.body)
	}
	ann.want(401, "GET", "/api/v1/runs", nil)
	idp.Person("sub-eve", "eve", "canteen")
	n.as("").want(403, "POST", "/api/v1/oidc/login", n.code(idp, nonce, oauth2.GenerateVerifier()))

	// The same name of another subject is another person, whatever their mail address.
	idp.Person("sub-other", "ann", "drc-operators")
	r = n.as("").do("POST", "/api/v1/oidc/login", n.code(idp, nonce, oauth2.GenerateVerifier()))
	if r.status != 409 || !strings.Contains(string(r.body), "perdure user link ann --subject sub-other") {
		t.Errorf("%d %s", r.status, r.body)
	}
	idp.Person("sub-bad", "Ann Lee", "drc-operators")
	n.as("").want(403, "POST", "/api/v1/oidc/login", n.code(idp, nonce, oauth2.GenerateVerifier()))

	idp.Person("sub-ann", "ann", "drc-operators")
	ann, _ = n.signsOn(idp)
	admin.want(200, "POST", "/api/v1/users/ann/lock", nil)
	ann.want(401, "GET", "/api/v1/runs", nil)
	idp.Person("sub-ann", "ann", "drc-operators")
	n.as("").want(403, "POST", "/api/v1/oidc/login", n.code(idp, nonce, oauth2.GenerateVerifier()))
	n.as("").want(401, "POST", "/api/v1/login", wire.Login{User: "ann", Password: ""}) // there is no password to guess

	var users []wire.User
	admin.want(200, "GET", "/api/v1/users", nil).into(t, &users)
	if len(users) != 1 || users[0].Subject == nil || users[0].Subject.Subject != "sub-ann" {
		t.Errorf("somebody who was refused is a user: %+v", users)
	}
}

func TestLinkedUserKeepsAtMostTheirRoles(t *testing.T) {
	idp := newIDP(t)
	n := startWith(t, newProvider(t, idp))
	admin := n.as("admin")
	n.user("bob", wire.Operator)
	n.user("cid", wire.Operator)
	admin.want(422, "PUT", "/api/v1/users/bob/subject", map[string]string{"subject": ""})
	admin.want(200, "PUT", "/api/v1/users/bob/subject", map[string]string{"subject": "sub-bob"})
	admin.want(409, "PUT", "/api/v1/users/bob/subject", map[string]string{"subject": "sub-bob-2"})
	admin.want(409, "PUT", "/api/v1/users/cid/subject", map[string]string{"subject": "sub-bob"})
	idp.Person("sub-bob", "robert", "drc-commanders")
	if _, in := n.signsOn(idp); in.User != "bob" || !slices.Equal(in.Roles, []wire.Role{wire.Operator}) {
		t.Errorf("%+v", in)
	}
}

func TestSignOnIsOfTheTenantThatTheGroupsSayForEver(t *testing.T) {
	idp := newIDP(t)
	n := startWith(t, newProvider(t, idp, func(o *signon.Options) {
		o.Meaning.Tenants = map[string]string{"north-staff": "north", "south-staff": "south", "drc": ""}
		o.Meaning.Roles["admins"] = []string{"admin", "operator"}
	}))
	refused := func(why string) {
		t.Helper()
		r := n.as("").do("POST", "/api/v1/oidc/login", n.code(idp, nonce, oauth2.GenerateVerifier()))
		if r.status != 403 || !strings.Contains(string(r.body), why) {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	idp.Person("sub-ann", "ann", "admins", "north-staff")
	if _, in := n.signsOn(idp); !slices.Equal(in.Roles, []wire.Role{wire.Operator}) {
		t.Errorf("somebody of a tenant is an administrator of the platform: %v", in.Roles)
	}
	var users []wire.User
	n.as("admin").want(200, "GET", "/api/v1/users", nil).into(t, &users)
	if len(users) != 1 || users[0].Tenant != "north" {
		t.Errorf("%+v", users)
	}
	idp.Person("sub-ann", "ann", "admins", "south-staff")
	refused("ann is of tenant north here, and the provider says of tenant south")
	idp.Person("sub-ann", "ann", "admins", "drc")
	refused("and the provider says the platform's own")
	idp.Person("sub-ann", "ann", "admins")
	refused("none of your groups says of which tenant")
	idp.Person("sub-root", "root", "admins", "drc")
	if root, _ := n.signsOn(idp); root.do("GET", "/api/v1/users", nil).status != 200 {
		t.Error("the platform's own administrator is none")
	}
}

func TestTokenThatIsNotForThisSignOnIsRefused(t *testing.T) {
	idp := newIDP(t)
	n := startWith(t, newProvider(t, idp))
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	stranger := newIDP(t)
	stranger.Rotate(t)
	tried := 0
	for name, c := range map[string]struct {
		prepare func()
		ask     func(s *wire.SignOn)
		status  int
		why     string
	}{
		"issuer":   {prepare: func() { idp.Lie(func(c map[string]any) { c["iss"] = "https://evil.example" }) }, status: 401, why: "different provider"},
		"audience": {prepare: func() { idp.Lie(func(c map[string]any) { c["aud"] = "another-client" }) }, status: 401, why: "expected audience"},
		"party": {prepare: func() {
			idp.Lie(func(c map[string]any) { c["aud"], c["azp"] = []string{idp.ClientID, "x"}, "x" })
		}, status: 401, why: "azp"},
		"two audiences": {prepare: func() { idp.Lie(func(c map[string]any) { c["aud"] = []string{idp.ClientID, "x"} }) }, status: 401, why: "azp"},
		"expired":       {prepare: func() { idp.Lie(func(c map[string]any) { c["exp"] = time.Now().Add(-2 * time.Minute).Unix() }) }, status: 401, why: "expired"},
		"not yet":       {prepare: func() { idp.Lie(func(c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() }) }, status: 401, why: "nbf"},
		"nonce":         {ask: func(s *wire.SignOn) { s.Nonce = "another" }, status: 401, why: "nonce"},
		"no nonce":      {ask: func(s *wire.SignOn) { s.Nonce = "" }, status: 422, why: "nonce"},
		"no subject":    {prepare: func() { idp.Lie(func(c map[string]any) { c["sub"] = "" }) }, status: 403, why: "who you are"},
		"no name":       {prepare: func() { idp.Lie(func(c map[string]any) { delete(c, "preferred_username") }) }, status: 403, why: "preferred_username"},
		"verifier":      {ask: func(s *wire.SignOn) { s.Verifier = oauth2.GenerateVerifier() }, status: 401, why: "the provider refuses"},
		"no verifier":   {ask: func(s *wire.SignOn) { s.Verifier = "" }, status: 422, why: "PKCE"},
		"no algorithm": {prepare: func() {
			idp.Replace(func(raw string) string {
				return part(map[string]string{"alg": "none"}) + "." + strings.Split(raw, ".")[1] + "."
			})
		}, status: 401, why: "not accepted"},
		"another's key": {prepare: func() {
			idp.Replace(func(raw string) string {
				text, _ := stranger.Keypair.SignJWT(jwt.MapClaims(signontest.Claims(raw)))
				return text
			})
		}, status: 401, why: "not accepted"},
		"changed": {prepare: func() {
			idp.Replace(func(raw string) string {
				claims := signontest.Claims(raw)
				claims["groups"] = []string{"drc-commanders"}
				parts := strings.Split(raw, ".")
				return parts[0] + "." + part(claims) + "." + parts[2]
			})
		}, status: 401, why: "not accepted"},
		"no token":    {prepare: func() { idp.Replace(func(string) string { return "" }) }, status: 401, why: "no ID token"},
		"redirection": {ask: func(s *wire.SignOn) { s.Redirect = "https://evil.example/callback" }, status: 422, why: "loopback"},
	} {
		if tried++; tried%9 == 0 { // an address has so many tries at a node
			n = startWith(t, newProvider(t, idp))
		}
		idp.Lie(nil)
		if c.prepare != nil {
			c.prepare()
		}
		idp.Person("sub-ann", "ann", "drc-operators")
		ask := n.code(idp, nonce, oauth2.GenerateVerifier())
		if c.ask != nil {
			c.ask(&ask)
		}
		if r := n.as("").do("POST", "/api/v1/oidc/login", ask); r.status != c.status || !strings.Contains(string(r.body), c.why) {
			t.Errorf("%s: want %d with %q, got %d %s", name, c.status, c.why, r.status, r.body)
		}
	}
	if users, err := n.store.Users(t.Context(), wire.Fresh); err != nil || len(users) != 0 {
		t.Errorf("somebody was let in: %+v, %v", users, err)
	}
}

func TestCodeIsGoodOnceAndTheSkewOfClocksIsAllowed(t *testing.T) {
	idp := newIDP(t)
	n := startWith(t, newProvider(t, idp))
	idp.Person("sub-ann", "ann", "drc-operators")
	ask := n.code(idp, nonce, oauth2.GenerateVerifier())
	n.as("").want(200, "POST", "/api/v1/oidc/login", ask)
	n.as("").want(401, "POST", "/api/v1/oidc/login", ask)

	idp.Lie(func(c map[string]any) { c["exp"] = time.Now().Add(-30 * time.Second).Unix() })
	idp.Person("sub-ann", "ann", "drc-operators")
	n.signsOn(idp)
	idp.Lie(nil)

	// The provider signs with another key from one moment to the next.
	idp.Rotate(t)
	idp.Person("sub-ann", "ann", "drc-operators")
	n.signsOn(idp)
}

func TestSecondFactorIsWhatTheTokenSaysWhereTheNodeAllowsItOrThatOfHere(t *testing.T) {
	idp := newIDP(t)
	n := startWith(t, newProvider(t, idp))
	n.manifestOf(always)
	n.asked("real", plan.Takeover)
	say := wire.RunWord{What: run.Approved, Step: "none", For: "commander"}
	for name, c := range map[string]struct {
		lie    func(c map[string]any)
		factor bool
	}{
		"nothing is said":  {nil, false},
		"a password only":  {func(c map[string]any) { c["amr"] = []string{"pwd"} }, false},
		"an allowed way":   {func(c map[string]any) { c["amr"] = []string{"pwd", "otp"} }, true},
		"another class":    {func(c map[string]any) { c["acr"] = "silver" }, false},
		"an allowed class": {func(c map[string]any) { c["acr"] = "gold" }, true},
	} {
		idp.Lie(c.lie)
		idp.Person("sub-ann", "ann", "drc-commanders")
		ann, in := n.signsOn(idp)
		if (in.Factor != 0) != c.factor {
			t.Errorf("%s: %+v", name, in)
		}
		if got := ann.do("POST", "/api/v1/runs/real/words", say).status; (got == 403) == c.factor {
			t.Errorf("%s: a word for real is answered with %d", name, got)
		}
	}
	idp.Lie(nil)

	// Who has a password and a second factor here shows it in the session of the provider.
	idp.Person("sub-ann", "ann", "drc-commanders")
	ann, _ := n.signsOn(idp)
	ann.want(401, "POST", "/api/v1/me/step-up", wire.StepUp{Password: password, Code: "000000"})
	n.as("admin").want(200, "PUT", "/api/v1/users/ann/password", map[string]string{"password": password})
	idp.Person("sub-ann", "ann", "drc-commanders")
	ann, _ = n.signsOn(idp)
	ann.want(409, "POST", "/api/v1/me/step-up", wire.StepUp{Password: password}) // there is none yet
	codes := n.enrolled(ann)
	idp.Person("sub-ann", "ann", "drc-commanders")
	ann, in := n.signsOn(idp)
	if in.Factor != 0 {
		t.Errorf("%+v", in)
	}
	ann.want(403, "POST", "/api/v1/runs/real/words", say)
	ann.want(401, "POST", "/api/v1/me/step-up", wire.StepUp{Password: password, Code: "wrong"})
	ann.want(200, "POST", "/api/v1/me/step-up", wire.StepUp{Password: password, Code: codes[0]})
	if got := ann.do("POST", "/api/v1/runs/real/words", say).status; got == 403 {
		t.Error("the second factor of here does not count")
	}
}

func TestSignOnByAnotherDevice(t *testing.T) {
	idp := newIDP(t)
	n := startWith(t, newProvider(t, idp))
	var d wire.DeviceStart
	n.as("").want(200, "POST", "/api/v1/oidc/device", nil).into(t, &d)
	if d.UserCode != "WDJB-MJHT" || d.Code != "device-1" || d.Interval != 1 || d.Expires.IsZero() {
		t.Errorf("%+v", d)
	}
	idp.Person("sub-ann", "ann", "drc-operators")
	idp.Confirm()
	var in wire.NewSession
	n.as("").want(200, "POST", "/api/v1/oidc/device/login", wire.DeviceWait{Code: d.Code, Interval: d.Interval}).into(t, &in)
	if in.User != "ann" || in.Secret == "" {
		t.Errorf("%+v", in)
	}
}

func TestDeadProviderKeepsNobodyWhoIsLocalOut(t *testing.T) {
	idp := newIDP(t)
	n := startWith(t, newProvider(t, idp))
	n.user("local", wire.Commander)
	idp.Die(t)
	for method, path := range map[string]string{"GET": "/api/v1/oidc", "POST": "/api/v1/oidc/device"} {
		if r := n.as("").do(method, path, nil); r.status != 503 || !strings.Contains(string(r.body), "perdure login --user NAME") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	n.login(wire.Login{User: "local", Password: password})
	other := start(t)
	if r := other.as("").do("GET", "/api/v1/oidc", nil); r.status != 404 || !strings.Contains(string(r.body), "no single sign-on") {
		t.Errorf("%d %s", r.status, r.body)
	}
}
