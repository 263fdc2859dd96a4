package sdk

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
)

// Headers between gateway and application.
const (
	HeaderKey        = "Idempotency-Key"
	HeaderCaller     = "Perdure-Caller"
	HeaderUnit       = "Perdure-Unit"
	HeaderSlot       = "Perdure-Slot"
	HeaderOwnership  = "Perdure-Ownership"
	HeaderRoutingKey = "Perdure-Routing-Key"
	HeaderReceipt    = "Perdure-Receipt"
	HeaderOutcome    = "Perdure-Outcome"
	HeaderReplayed   = "Perdure-Replayed"
)

// Anonymous is the caller where no gateway names one.
const Anonymous = "anonymous"

// defaultMaxBody bounds a request's body in bytes.
const defaultMaxBody = 1 << 20

// Service answers requests with the semantics of the IETF Idempotency-Key draft: 400 without a key, 422 for another payload under
// the same key, 409 while it is running, and the same bytes and status for every repetition.
type Service struct {
	// Units are the units whose databases this instance reaches, by name.
	Units map[string]*Unit
	// MaxBody bounds a request's body in bytes; default 1 MiB.
	MaxBody int64
	// Log gets what a client does not see; nil: nothing.
	Log *slog.Logger
}

// Incoming is a request with what the gateway said about it.
type Incoming struct {
	*http.Request
	// Payload is the body, read.
	Payload []byte
	// Caller and RoutingKey are the gateway's words. Without a gateway the caller is anonymous and the handler has to fill in
	// the routing key, always the same for the same payload.
	Caller, RoutingKey string
}

// Decode reads the payload as a JSON object into v; unknown fields and anything after the object are errors, told as a refusal (400).
func (in *Incoming) Decode(v any) error {
	d := json.NewDecoder(strings.NewReader(string(in.Payload)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return Refuse(http.StatusBadRequest, "The body cannot be read", err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Refuse(http.StatusBadRequest, "The body cannot be read", "it goes on after the JSON object")
	}
	return nil
}

// Handle makes a handler of a function that looks at the request and says what work it is. The function acts on nothing: it is
// called for repetitions as well. A *Refusal from it is answered and not stored, any other error is answered with 500.
func (s *Service) Handle(decide func(*Incoming) (Work, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		a, err := s.serve(w, hr, decide)
		if err != nil {
			s.Fail(w, hr, err)
			return
		}
		WriteAnswer(w, a)
	})
}

func (s *Service) serve(w http.ResponseWriter, hr *http.Request, decide func(*Incoming) (Work, error)) (Answer, error) {
	key, err := ParseKey(hr.Header.Get(HeaderKey))
	if err != nil {
		title := "Idempotency-Key is malformed"
		if errors.Is(err, ErrNoKey) {
			title = "Idempotency-Key is missing"
		}
		return Answer{}, &Failure{Status: http.StatusBadRequest, Title: title, Detail: err.Error()}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, hr.Body, cmp.Or(s.MaxBody, defaultMaxBody)))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return Answer{}, &Failure{Status: http.StatusRequestEntityTooLarge, Title: "The body is too large", Detail: err.Error()}
		}
		return Answer{}, &Failure{Status: http.StatusBadRequest, Title: "The body cannot be read", Detail: err.Error()}
	}
	in := &Incoming{
		Request: hr, Payload: body,
		Caller: cmp.Or(hr.Header.Get(HeaderCaller), Anonymous), RoutingKey: hr.Header.Get(HeaderRoutingKey),
	}
	work, err := decide(in)
	if err != nil {
		return Answer{}, err
	}
	u, err := s.Unit(hr)
	if err != nil {
		return Answer{}, err
	}
	slot := 0
	if h := hr.Header.Get(HeaderSlot); h != "" {
		if slot, err = strconv.Atoi(h); err != nil {
			return Answer{}, &Failure{Status: http.StatusBadRequest, Title: HeaderSlot + " is malformed", Detail: err.Error()}
		}
	}
	return u.Run(hr.Context(), Request{
		Slot: slot, Caller: in.Caller, RoutingKey: in.RoutingKey, Key: key,
		Hash: Fingerprint(hr.Method, hr.URL.RequestURI(), body),
	}, work)
}

// Unit is the unit that the gateway chose; without a gateway the only one there is.
func (s *Service) Unit(hr *http.Request) (*Unit, error) {
	name := hr.Header.Get(HeaderUnit)
	if name == "" {
		if len(s.Units) == 1 {
			for _, u := range s.Units {
				return u, nil
			}
		}
		return nil, &Failure{Status: http.StatusBadRequest, Title: HeaderUnit + " is missing", Detail: "send the request through a gateway"}
	}
	u, ok := s.Units[name]
	if !ok {
		return nil, nothing(nil, "this instance does not serve unit %s", name)
	}
	return u, nil
}

// receipt is what the gateway keeps for loss estimates.
type receipt struct {
	Seq      int64    `json:"seq"`
	Amount   string   `json:"amount"`
	Accounts []string `json:"accounts"`
}

// WriteAnswer writes a stored result.
func WriteAnswer(w http.ResponseWriter, a Answer) {
	h := w.Header()
	r, err := json.Marshal(receipt{Seq: a.Seq, Amount: cmp.Or(a.Amount, "0"), Accounts: a.Accounts})
	if err == nil {
		h[HeaderReceipt] = []string{string(r)}
	}
	h[HeaderOwnership] = []string{a.Ownership}
	h[HeaderOutcome] = []string{string(a.Outcome)}
	if a.Outcome == Replayed {
		h[HeaderReplayed] = []string{"true"}
	}
	if a.ContentType != "" {
		h["Content-Type"] = []string{a.ContentType}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(a.Body))}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // a client that has gone asks again
}

// Fail answers with an error: a *Failure, a *Refusal that is not stored, or anything else as 500. Such an answer says nothing about
// data that could be lost, so where the database has not said in which ownership it spoke, the gateway's own is repeated.
func (s *Service) Fail(w http.ResponseWriter, hr *http.Request, err error) {
	var (
		f *Failure
		r *Refusal
	)
	switch {
	case errors.As(err, &r):
		w.Header().Set(HeaderOwnership, hr.Header.Get(HeaderOwnership))
		w.Header().Set("Content-Type", r.ContentType)
		w.WriteHeader(r.Status)
		_, _ = w.Write(r.Body)
		return
	case !errors.As(err, &f):
		f = internal(err, "%v", err)
	}
	if s.Log != nil && f.Status >= http.StatusInternalServerError {
		s.Log.Warn("request failed", "path", hr.URL.Path, "outcome", f.Outcome, "status", f.Status, "sqlstate", f.SQLState, "error", f)
	}
	h := w.Header()
	if f.Outcome != Rejected {
		h.Set(HeaderOutcome, string(f.Outcome))
	}
	if f.Outcome != NotOwner && f.Outcome != Unknown {
		h.Set(HeaderOwnership, cmp.Or(f.Ownership, hr.Header.Get(HeaderOwnership)))
	}
	if f.Status == http.StatusServiceUnavailable || f.Status == http.StatusConflict {
		h.Set("Retry-After", "1")
	}
	res := problemResult(f.Status, f.Title, f.Detail)
	h.Set("Content-Type", res.ContentType)
	w.WriteHeader(res.Status)
	_, _ = w.Write(res.Body)
}

// problem is an RFC 9457 document.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

func problemResult(status int, title, detail string) Result {
	slug := strings.ReplaceAll(strings.ToLower(title), " ", "-")
	b, err := json.Marshal(problem{Type: "urn:perdure:" + slug, Title: title, Status: status, Detail: detail})
	if err != nil {
		b = []byte(`{}`) // four strings and a number always marshal
	}
	return Result{Status: status, ContentType: "application/problem+json", Body: b}
}
