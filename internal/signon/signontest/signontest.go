// Package signontest is a provider of OpenID Connect for tests: mockoidc, which can be made to lie, to rotate its keys and to die, and which knows
// sign-on by another device (RFC 8628).
package signontest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oauth2-proxy/mockoidc"
)

// Provider is a provider of somebody's single sign-on. Its groups claim is "groups".
type Provider struct {
	*mockoidc.MockOIDC

	mu        sync.Mutex
	lie       func(claims map[string]any)
	token     func(raw string) string
	confirmed bool
	silence   int // status of every answer, 0: it answers
}

// Start runs a provider until the test ends.
func Start(t testing.TB) *Provider {
	t.Helper()
	m, err := mockoidc.NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{MockOIDC: m}
	if err := m.AddMiddleware(p.between); err != nil {
		t.Fatal(err)
	}
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(l, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Die(t) })
	return p
}

// Die ends the provider.
func (p *Provider) Die(t testing.TB) {
	t.Helper()
	if err := p.Server.Close(); err != nil {
		t.Error(err)
	}
}

// Person is who signs on next.
func (p *Provider) Person(subject, name string, groups ...string) {
	p.QueueUser(&mockoidc.MockUser{Subject: subject, PreferredUsername: name, Email: name + "@bank.example", Groups: groups})
}

// Lie changes the claims of ID tokens before they are signed; nil: it says what is so.
func (p *Provider) Lie(lie func(claims map[string]any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lie, p.token = lie, nil
}

// Replace changes ID tokens once they were signed.
func (p *Provider) Replace(token func(raw string) string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lie, p.token = nil, token
}

// Confirm confirms every sign-on by another device from now on.
func (p *Provider) Confirm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.confirmed = true
}

// Silence has it answer everything with a status and nothing else; 0: it answers again.
func (p *Provider) Silence(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silence = status
}

// Rotate has the provider sign with another key.
func (p *Provider) Rotate(t testing.TB) {
	t.Helper()
	k, err := mockoidc.RandomKeypair(2048)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Keypair = k
}

// Browse is somebody at a browser: the provider knows them, and sends them back to where the answer says.
func Browse(ctx context.Context, t testing.TB, address string) (back string) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("Location")
}

// between stands between the provider and who asks it.
func (p *Provider) between(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case p.silence != 0:
			w.WriteHeader(p.silence)
		case r.URL.Path == mockoidc.DiscoveryEndpoint:
			p.also(w, r, next, func(said map[string]any) { said["device_authorization_endpoint"] = p.AuthorizationEndpoint() })
		case r.URL.Path == mockoidc.AuthorizationEndpoint && r.Method == http.MethodPost:
			if r.PostFormValue("client_secret") != p.ClientSecret {
				write(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
				return
			}
			write(w, http.StatusOK, map[string]any{"device_code": "device-1", "user_code": "WDJB-MJHT", "verification_uri": p.Addr() + "/device", "verification_uri_complete": p.Addr() + "/device?user_code=WDJB-MJHT", "expires_in": 600, "interval": 1})
		case r.URL.Path == mockoidc.TokenEndpoint && strings.HasSuffix(r.PostFormValue("grant_type"), ":device_code"):
			p.device(w, r, next)
		case r.URL.Path == mockoidc.TokenEndpoint:
			p.also(w, r, next, p.forge)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// device answers for a sign-on by another device, as by a code once it was confirmed.
func (p *Provider) device(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !p.confirmed || r.PostFormValue("device_code") != "device-1" {
		write(w, http.StatusBadRequest, map[string]any{"error": "authorization_pending"})
		return
	}
	session, err := p.SessionStore.NewSession("openid profile groups", "", p.UserQueue.Pop(), "", "")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.Form.Set("grant_type", "authorization_code")
	r.Form.Set("code", session.SessionID)
	r.Form.Set("client_id", p.ClientID)
	r.Form.Set("client_secret", p.ClientSecret)
	p.also(w, r, next, p.forge)
}

// also changes what the provider says.
func (p *Provider) also(w http.ResponseWriter, r *http.Request, next http.Handler, change func(said map[string]any)) {
	// The library that asks shows its secret in one of two ways, and mockoidc takes one of them.
	if id, secret, ok := r.BasicAuth(); ok && r.ParseForm() == nil {
		r.Form.Set("client_id", id)
		r.Form.Set("client_secret", secret)
	}
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	var said map[string]any
	if rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &said) != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
		return
	}
	change(said)
	write(w, http.StatusOK, said)
}

func (p *Provider) forge(said map[string]any) {
	raw, _ := said["id_token"].(string)
	switch {
	case p.lie != nil:
		claims := Claims(raw)
		p.lie(claims)
		said["id_token"], _ = p.Keypair.SignJWT(jwt.MapClaims(claims))
	case p.token != nil:
		said["id_token"] = p.token(raw)
	}
}

// Claims are those of a token.
func Claims(raw string) map[string]any {
	parts := strings.Split(raw, ".")
	claims := map[string]any{}
	if len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(text, &claims)
	}
	return claims
}

func write(w http.ResponseWriter, status int, said map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(said)
}
