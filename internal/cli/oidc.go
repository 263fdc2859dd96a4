package cli

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/wire"
)

// Times of a sign-on.
const (
	signOnWait  = 5 * time.Minute  // for the person at the browser
	redeemWait  = 30 * time.Second // for the node and the provider
	headersWait = 5 * time.Second
)

// callback is the path that a provider sends people back to.
const callback = "/callback"

// signOn signs a person on by the provider of the estate.
func (s *session) signOn(ctx context.Context, place estateContext, device bool) error {
	c, err := place.client("")
	if err != nil {
		return err
	}
	patient := place // the node asks the provider, and waits for a person
	patient.timeout = max(place.timeout, redeemWait)
	slow, err := patient.client("")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, signOnWait, errs.New(errs.Unavailable, "nobody has signed on at the provider within %s; try again", signOnWait))
	defer cancel()
	var in wire.NewSession
	if device {
		in, err = s.byDevice(ctx, c, slow)
	} else {
		in, err = s.byBrowser(ctx, c, slow)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && errs.KindOf(cause) == errs.Unavailable {
			return cause
		}
		return err
	}
	return s.loggedIn(place, in)
}

// came is what a provider sent somebody back with.
type came struct{ code, err string }

// byBrowser has a code sent to a port of this machine (RFC 8252), bound to this call by the state and by PKCE (RFC 7636).
func (s *session) byBrowser(ctx context.Context, c, slow *client.Client) (wire.NewSession, error) {
	var none wire.NewSession
	info, err := c.SignOnInfo(ctx)
	if err != nil {
		return none, err
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return none, errs.New(errs.Unavailable, "cannot listen for the provider's answer: %w; --device needs no port", err)
	}
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	redirect := "http://" + l.Addr().String() + callback
	back := make(chan came, 1)
	server := &http.Server{ReadHeaderTimeout: headersWait, Handler: s.answering(state, back)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(short) // the page was read, or nobody waits for it
		<-served
	}()
	at := oauth2.Config{ClientID: info.ClientID, Endpoint: oauth2.Endpoint{AuthURL: info.Authorize}, RedirectURL: redirect, Scopes: info.Scopes}
	fmt.Fprintln(s.Err, s.say(signOnAt, at.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce))))
	select {
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case err := <-served:
		served <- err
		return none, errs.New(errs.Unavailable, "cannot listen for the provider's answer: %w", err)
	case got := <-back:
		if got.err != "" {
			return none, errs.New(errs.Unauthorised, "the provider refuses: %.200s", got.err)
		}
		return slow.SignOn(ctx, wire.SignOn{Code: got.code, Verifier: verifier, Nonce: nonce, Redirect: redirect})
	}
}

// answering takes the answer that has the state, once, and tells the person at the browser.
func (s *session) answering(state string, back chan<- came) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+callback, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			http.Error(w, s.say(signOnStrange), http.StatusBadRequest)
			return
		}
		got := came{code: q.Get("code"), err: q.Get("error")}
		if got.code == "" && got.err == "" {
			got.err = "no code"
		}
		select {
		case back <- got:
			fmt.Fprintln(w, s.say(signOnBack))
		default:
			http.Error(w, s.say(signOnStrange), http.StatusBadRequest)
		}
	})
	return mux
}

// byDevice has it confirmed on another device (RFC 8628).
func (s *session) byDevice(ctx context.Context, c, slow *client.Client) (wire.NewSession, error) {
	d, err := c.BeginDevice(ctx)
	if err != nil {
		return wire.NewSession{}, err
	}
	fmt.Fprintln(s.Err, s.say(signOnDevice, d.URL, d.UserCode))
	if d.Complete != "" {
		if drawn, err := drawQR(d.Complete); err == nil {
			fmt.Fprintln(s.Err, drawn)
		}
	}
	for {
		in, err := slow.AwaitDevice(ctx, wire.DeviceWait{Code: d.Code, Interval: d.Interval})
		if errs.KindOf(err) != errs.Conflict || ctx.Err() != nil {
			return in, err
		}
		if !d.Expires.IsZero() && time.Now().After(d.Expires) {
			return in, errs.New(errs.Unauthorised, "the code has expired, and nobody has confirmed it; try again")
		}
	}
}

// stepUp shows the second factor of here in the session that there is.
func (s *session) stepUp(ctx context.Context) error {
	c, err := s.estate()
	if err != nil {
		return err
	}
	var ask wire.StepUp
	if ask.Password, err = s.line(askPassword, true); err != nil {
		return err
	}
	if ask.Code, err = s.line(askCode, false); err != nil {
		return err
	}
	x, err := c.StepUp(ctx, ask)
	if err != nil {
		return err
	}
	if s.json {
		return s.emit(x)
	}
	fmt.Fprintln(s.Out, s.say(steppedUp, s.factorWord(x.Factor)))
	return nil
}

func (s *session) userLinkCommand() *cobra.Command {
	var subject string
	c := &cobra.Command{
		Use: "link NAME --subject SUBJECT", Short: "Say who a user is for the provider of single sign-on, for ever; they keep at most the roles that they have", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if subject == "" {
				return usagef("--subject is missing: the claim sub of the provider's tokens, never a mail address")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			return s.showUser(c.LinkUser(cmd.Context(), args[0], subject))
		},
	}
	c.Flags().StringVar(&subject, "subject", "", "the claim sub of the provider's tokens")
	return c
}
