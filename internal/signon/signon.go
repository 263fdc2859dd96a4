// Package signon signs people on by a provider of OpenID Connect: it redeems codes and checks what the provider says.
//
// It keeps no state but what it has learnt of the provider: which session of whose command line a code belongs to is said by the state, which the
// command line checks, and by PKCE, whose verifier nobody else has. Who a person is here, and what they may, is for the store.
package signon

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"perdure/internal/errs"
	"perdure/internal/person"
	"perdure/internal/wire"
)

// Times of a provider.
const (
	fresh     = 10 * time.Minute // what was discovered is looked up anew
	again     = 2 * time.Second  // a discovery that failed is tried again
	answerIn  = 8 * time.Second  // one answer of the provider
	deviceIn  = 20 * time.Second // one request of somebody who waits for a device
	mostSkew  = 5 * time.Minute
	mostToken = 1 << 20 // bytes of one answer
)

// Options say which provider, and what its tokens mean.
type Options struct {
	Issuer, ClientID, Secret string
	Scopes                   []string
	// Audience has to be among those of a token; ClientID where empty.
	Audience string
	// Skew is how far the provider's clock may differ, 5 min at most.
	Skew    time.Duration
	Meaning person.SignOn
	// TLS trusts the provider; nil trusts what the machine does.
	TLS *tls.Config
	Now func() time.Time // time.Now where nil
}

// Provider is one provider of single sign-on. It is safe for concurrent use.
type Provider struct {
	o    Options
	http *http.Client

	mu    sync.Mutex
	known *oidc.Provider
	since time.Time
	// failed is why the last discovery failed, which was then: who comes soon after does not wait for another one.
	failed error
	then   time.Time
}

// New makes a provider; it asks nothing yet.
func New(o Options) (*Provider, error) {
	if o.Skew < 0 || o.Skew > mostSkew {
		return nil, errs.New(errs.Invalid, "oidc.skew %s is out of range; allowed: 0s to %s", o.Skew, mostSkew)
	}
	if o.Audience == "" {
		o.Audience = o.ClientID
	}
	if !slices.Contains(o.Scopes, oidc.ScopeOpenID) {
		o.Scopes = append([]string{oidc.ScopeOpenID}, o.Scopes...)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	transport, _ := http.DefaultTransport.(*http.Transport)
	transport = transport.Clone()
	transport.TLSClientConfig = o.TLS
	return &Provider{o: o, http: &http.Client{Transport: limited{transport}, Timeout: answerIn}}, nil
}

// limited bounds what is read of an answer.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, mostToken), resp.Body}
	}
	return resp, err
}

// Issuer is the provider.
func (p *Provider) Issuer() string { return p.o.Issuer }

// Close ends its idle connections.
func (p *Provider) Close() { p.http.CloseIdleConnections() }

// dead says that the provider does not answer, and what people do then.
func (p *Provider) dead(err error) error {
	return errs.New(errs.Unavailable, "single sign-on at %s does not answer: %w; local users log in as ever (perdure login --user NAME), and approvals can be signed (perdure run challenge)", p.o.Issuer, err)
}

// discover gives what the provider says of itself. Where it does not answer any more, what it said last still counts.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Now()
	if p.known != nil && now.Sub(p.since) < fresh {
		return p.known, nil
	}
	if p.known == nil && p.failed != nil && now.Sub(p.then) < again {
		return nil, p.failed
	}
	// The keys are fetched by later requests too: what is learnt now outlives this one.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.http), p.o.Issuer)
	switch {
	case err == nil:
		p.known, p.since, p.failed = found, now, nil
	case p.known == nil:
		p.failed, p.then = p.dead(err), now
		var wrong *oidc.IssuerMismatchError
		if errors.As(err, &wrong) {
			p.failed = errs.New(errs.Unavailable, "single sign-on is set up wrongly: the node names issuer %s, and the provider says otherwise: %w; local users log in as ever", p.o.Issuer, err)
		}
		return nil, p.failed
	}
	return p.known, nil
}

func (p *Provider) config(found *oidc.Provider, redirect string) oauth2.Config {
	return oauth2.Config{ClientID: p.o.ClientID, ClientSecret: p.o.Secret, Endpoint: found.Endpoint(), RedirectURL: redirect, Scopes: p.o.Scopes}
}

// Info is what a command line needs to send somebody to the provider.
func (p *Provider) Info(ctx context.Context) (wire.SignOnInfo, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return wire.SignOnInfo{}, err
	}
	e := found.Endpoint()
	return wire.SignOnInfo{Issuer: p.o.Issuer, ClientID: p.o.ClientID, Authorize: e.AuthURL, Scopes: p.o.Scopes, Device: e.DeviceAuthURL != ""}, nil
}

// Redeem redeems a code and gives whose it is. Errors: Unauthorised, Forbidden, Unavailable.
func (p *Provider) Redeem(ctx context.Context, ask wire.SignOn) (person.Identity, error) {
	if ask.Verifier == "" || ask.Nonce == "" {
		return person.Identity{}, errs.New(errs.Invalid, "a code is redeemed with its PKCE verifier and its nonce")
	}
	found, err := p.discover(ctx)
	if err != nil {
		return person.Identity{}, err
	}
	c := p.config(found, ask.Redirect)
	token, err := c.Exchange(oidc.ClientContext(ctx, p.http), ask.Code, oauth2.VerifierOption(ask.Verifier))
	if err != nil {
		return person.Identity{}, p.refused(err)
	}
	return p.identify(ctx, found, token, ask.Nonce)
}

// refused tells a provider that says no from one that says nothing.
func (p *Provider) refused(err error) error {
	var said *oauth2.RetrieveError
	switch {
	case !errors.As(err, &said), said.Response != nil && said.Response.StatusCode >= http.StatusInternalServerError:
		return p.dead(err)
	case said.ErrorCode == "invalid_client" || said.ErrorCode == "unauthorized_client":
		return errs.New(errs.Unavailable, "single sign-on is set up wrongly: the provider does not take the node for client %s (%s); its secret may have been changed. Local users log in as ever", p.o.ClientID, said.ErrorCode)
	}
	return errs.New(errs.Unauthorised, "the provider refuses: %s %s; sign on again (perdure login --oidc)", said.ErrorCode, said.ErrorDescription)
}

// identify checks a token: signature, issuer, audience, times, nonce; then what it says.
func (p *Provider) identify(ctx context.Context, found *oidc.Provider, token *oauth2.Token, nonce string) (person.Identity, error) {
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return person.Identity{}, errs.New(errs.Unauthorised, "the provider gave no ID token: scope openid has to be allowed to client %s", p.o.ClientID)
	}
	verifier := found.Verifier(&oidc.Config{ClientID: p.o.Audience, Now: func() time.Time { return p.o.Now().Add(-p.o.Skew) }})
	verified, err := verifier.Verify(oidc.ClientContext(ctx, p.http), raw)
	if err != nil {
		return person.Identity{}, errs.New(errs.Unauthorised, "the token of the provider is not accepted: %w; sign on again, and compare the clocks and the provider's configuration where that does not help", err)
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		return person.Identity{}, errs.New(errs.Unauthorised, "the token of the provider cannot be read: %w", err)
	}
	party, hasParty := claims["azp"].(string)
	switch {
	case nonce != "" && verified.Nonce != nonce:
		return person.Identity{}, errs.New(errs.Unauthorised, "the token of the provider was made for another sign-on (nonce): sign on again")
	case hasParty && party != p.o.ClientID, !hasParty && len(verified.Audience) > 1:
		return person.Identity{}, errs.New(errs.Unauthorised, "the token of the provider was made for another client (azp %q, want %q)", party, p.o.ClientID)
	}
	return p.o.Meaning.Identify(verified.Issuer, verified.Subject, claims)
}

// Device begins a sign-on that is confirmed on another device.
func (p *Provider) Device(ctx context.Context) (wire.DeviceStart, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return wire.DeviceStart{}, err
	}
	c := p.config(found, "")
	if c.Endpoint.DeviceAuthURL == "" {
		return wire.DeviceStart{}, errs.New(errs.Refused, "the provider %s knows no sign-on by another device; without --device it goes through a browser", p.o.Issuer)
	}
	var proof []oauth2.AuthCodeOption
	if p.o.Secret != "" { // the library shows it nowhere else in this request
		proof = append(proof, oauth2.SetAuthURLParam("client_secret", p.o.Secret))
	}
	d, err := c.DeviceAuth(oidc.ClientContext(ctx, p.http), proof...)
	if err != nil {
		return wire.DeviceStart{}, p.refused(err)
	}
	return wire.DeviceStart{Code: d.DeviceCode, UserCode: d.UserCode, URL: d.VerificationURI, Complete: d.VerificationURIComplete, Expires: d.Expiry, Interval: max(d.Interval, 1)}, nil
}

// Await waits a while until a sign-on was confirmed on the other device; it was not yet where the error is Conflict.
func (p *Provider) Await(ctx context.Context, ask wire.DeviceWait) (person.Identity, error) {
	found, err := p.discover(ctx)
	if err != nil {
		return person.Identity{}, err
	}
	c := p.config(found, "")
	within, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.http), deviceIn)
	defer cancel()
	token, err := c.DeviceAccessToken(within, &oauth2.DeviceAuthResponse{DeviceCode: ask.Code, Interval: min(max(ask.Interval, 1), 15)})
	switch {
	case errors.Is(err, context.DeadlineExceeded) && within.Err() != nil:
		return person.Identity{}, errs.New(errs.Conflict, "nobody has confirmed it on the other device yet")
	case err != nil:
		return person.Identity{}, p.refused(err)
	}
	return p.identify(ctx, found, token, "")
}
