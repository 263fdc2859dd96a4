package signon_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/signon"
	"perdure/internal/signon/signontest"
	"perdure/internal/wire"
)

func provider(t *testing.T, o signon.Options) *signon.Provider {
	t.Helper()
	p, err := signon.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestProviderThatIsSetUpWronglyIsToldFromOneThatIsDead(t *testing.T) {
	idp := signontest.Start(t)
	elsewhere := strings.Replace(idp.Issuer(), "127.0.0.1", "localhost", 1)
	p := provider(t, signon.Options{Issuer: elsewhere, ClientID: idp.ClientID, Secret: idp.ClientSecret})
	if _, err := p.Info(t.Context()); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "set up wrongly") {
		t.Errorf("another issuer: %v", err)
	}
	p = provider(t, signon.Options{Issuer: idp.Issuer(), ClientID: idp.ClientID, Secret: "changed"})
	if _, err := p.Redeem(t.Context(), wire.SignOn{Code: "c", Verifier: "v", Nonce: "n"}); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "its secret may have been changed") {
		t.Errorf("another secret: %v", err)
	}
	if _, err := p.Device(t.Context()); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "its secret may have been changed") {
		t.Errorf("another secret, by a device: %v", err)
	}
	idp.Die(t)
	if _, err := p.Redeem(t.Context(), wire.SignOn{Code: "c", Verifier: "v", Nonce: "n"}); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), "local users log in as ever") {
		t.Errorf("dead: %v", err)
	}
	if _, err := signon.New(signon.Options{Skew: time.Hour}); errs.KindOf(err) != errs.Invalid {
		t.Errorf("a skew of an hour: %v", err)
	}
}

// TestDeadProviderIsAskedAgainByItself: who comes soon after a failure does not wait for another one, and who comes later asks anew.
func TestDeadProviderIsAskedAgainByItself(t *testing.T) {
	idp := signontest.Start(t)
	now := time.Unix(1_800_000_000, 0)
	p := provider(t, signon.Options{Issuer: idp.Issuer(), ClientID: idp.ClientID, Now: func() time.Time { return now }})
	idp.Silence(http.StatusBadGateway)
	if _, err := p.Info(t.Context()); errs.KindOf(err) != errs.Unavailable {
		t.Fatalf("dead: %v", err)
	}
	idp.Silence(0)
	if _, err := p.Info(t.Context()); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("at once: %v", err)
	}
	now = now.Add(3 * time.Second)
	if info, err := p.Info(t.Context()); err != nil || info.Authorize != idp.AuthorizationEndpoint() {
		t.Errorf("later: %+v, %v", info, err)
	}
	idp.Silence(http.StatusBadGateway)
	now = now.Add(time.Hour)
	if _, err := p.Info(t.Context()); err != nil {
		t.Errorf("what it said last does not count any more: %v", err)
	}
}
