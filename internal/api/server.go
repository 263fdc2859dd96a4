package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"perdure/internal/calendar"
	"perdure/internal/duty"
	"perdure/internal/errs"
	"perdure/internal/incident"
	"perdure/internal/manifest"
)

// Options configure a Server.
type Options struct {
	// Node names this node; Version is the product's.
	Node, Version string
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// TLS must verify client certificates where given (pki.Files.ServerTLS); nil speaks plain HTTP (tests only).
	TLS *tls.Config
	// Watches bounds the concurrent watches (default 512).
	Watches int
	// Heartbeat is the time between two heartbeat lines of a watch (default 1 s).
	Heartbeat time.Duration
}

// Time limits of the server.
const (
	headerLimit   = 5 * time.Second
	requestLimit  = 30 * time.Second
	idleLimit     = 2 * time.Minute
	streamStall   = 5 * time.Second // a stream whose reader takes nothing for so long is cut
	headerBytes   = 32 << 10
	defaultWatch  = 512
	defaultHeart  = time.Second
	snapshotLimit = 10 * time.Minute
)

// Server serves the API.
type Server struct {
	o        Options
	d        Deps // with the scoped store
	scoped   *scoped
	api      huma.API
	handler  http.Handler
	http     *http.Server
	listener net.Listener
	watches  chan struct{}
	logins   pace // tries with a password
	signOns  pace // by a provider, which is asked each time
	stopping context.Context
	stop     context.CancelFunc
	requests *prometheus.HistogramVec
	document []byte
	// What was read of the newest manifest.
	books        read[*calendar.Book]
	ruled        read[incident.Rules]
	participants read[[]manifest.Participant]
	duties       read[*duty.Book]
}

// New makes the server and its document; it does not listen yet.
func New(d Deps, o Options) (*Server, error) {
	if d.Store == nil || d.Member == nil || d.Standing == nil || d.Logger == nil {
		return nil, errs.New(errs.Internal, "the API needs a store, its member, a standing and a logger")
	}
	if o.Watches == 0 {
		o.Watches = defaultWatch
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = defaultHeart
	}
	s := &Server{o: o, d: d, watches: make(chan struct{}, o.Watches)}
	s.scoped = &scoped{Store: d.Store, plans: d.Plans}
	s.d.Store = s.scoped
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "perdure_api_request_seconds", Help: "Time to answer API requests; streams count until they end.",
		Buckets: []float64{.001, .005, .02, .1, .5, 1, 2, 5},
	}, []string{"method", "route", "status"})
	if d.Register != nil {
		if err := d.Register.Register(s.requests); err != nil {
			return nil, errs.New(errs.Internal, "cannot register the API's metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, r, errs.New(errs.NotFound, "there is no %s %s; see /api/v1/openapi.json", r.Method, r.URL.Path))
	})
	s.api = humago.New(mux, s.config())
	s.api.UseMiddleware(s.admit, s.once)
	for _, r := range s.routes() {
		r.register(s.api, r.operation())
	}
	document, err := json.MarshalIndent(s.api.OpenAPI(), "", "  ")
	if err != nil {
		return nil, errs.New(errs.Internal, "cannot write the OpenAPI document: %w", err)
	}
	s.document = append(document, '\n')
	s.handler = s.observe(mux)
	return s, nil
}

// config describes the API; formats are JSON only.
func (s *Server) config() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Perdure node API", Version: "v1", Description: "Control plane of a Perdure estate. Errors are application/problem+json."},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":       {Type: "http", Scheme: "bearer", Description: "A person's token, or the secret of a session."},
					"certificate": {Type: "mutualTLS", Description: "A machine's certificate: agent:NAME, gateway:NAME, node:NAME, app:NAME."},
				},
			},
			Security: []map[string][]string{{"token": {}}, {"certificate": {}}},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	}
}

// schemaName keeps types of the same name in different packages apart: estate.Incarnation is EstateIncarnation.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" || !strings.HasPrefix(t.PkgPath(), "perdure/") || strings.HasSuffix(t.PkgPath(), "/api") {
		return huma.DefaultSchemaNamer(t, hint)
	}
	pkg := path.Base(t.PkgPath())
	return strings.ToUpper(pkg[:1]) + pkg[1:] + t.Name()
}

// Document is the OpenAPI 3.1 document.
func (s *Server) Document() []byte { return s.document }

// Start listens and serves in the background until Stop. It fails if the address is taken.
func (s *Server) Start() error {
	l, err := net.Listen("tcp", s.o.Listen)
	if err != nil {
		return errs.New(errs.Unavailable, "the API cannot listen on %s: %w; free the port or choose another", s.o.Listen, err)
	}
	s.listener = l
	s.http = &http.Server{
		Handler: s.handler, TLSConfig: s.o.TLS,
		ReadHeaderTimeout: headerLimit, ReadTimeout: requestLimit, IdleTimeout: idleLimit, MaxHeaderBytes: headerBytes,
		ErrorLog: slog.NewLogLogger(s.d.Logger.Handler(), slog.LevelDebug),
	}
	go func() { // ends with Stop, which waits for its connections
		var err error
		if s.o.TLS != nil {
			err = s.http.ServeTLS(l, "", "")
		} else {
			err = s.http.Serve(l)
		}
		if err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.d.Logger.Error("API stopped serving", "error", err)
		}
	}()
	return nil
}

// Addr is where the server listens, once started.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop ends the watches, lets running requests finish until ctx ends, then cuts them.
func (s *Server) Stop(ctx context.Context) error {
	s.stop()
	if s.http == nil {
		return nil
	}
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
		return errs.New(errs.Unavailable, "the API cut requests that did not finish: %w", err)
	}
	return nil
}

// recorder notes what was answered, for the access log.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	who    string
	copy   *bytes.Buffer // what was written, up to a little more than mostKept; nil: nobody wants it
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if r.copy != nil && r.copy.Len() <= mostKept {
		r.copy.Write(p)
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// observe writes the access log and the metrics, and keeps a broken handler from ending the process.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			p := recover()
			if cut, ok := p.(error); ok && errors.Is(cut, http.ErrAbortHandler) {
				s.note(r, rec, time.Since(began))
				panic(p)
			}
			if p != nil {
				s.d.Logger.Error("API handler broke", "panic", p, "path", r.URL.Path, "stack", string(debug.Stack()))
				if rec.status == 0 {
					writeProblem(rec, r, errs.New(errs.Internal, "the node could not answer: a defect; see its log"))
				}
			}
			s.note(r, rec, time.Since(began))
		}()
		// A reader that takes nothing must not hold a handler; streams move this ahead as they go.
		_ = http.NewResponseController(w).SetWriteDeadline(began.Add(requestLimit))
		next.ServeHTTP(rec, r)
	})
}

func (s *Server) note(r *http.Request, rec *recorder, took time.Duration) {
	// Whatever is not in the table shares one line of the metrics: anybody may send any method and path.
	method, pattern := r.Method, r.Pattern
	if pattern == "" || pattern == "/" {
		method, pattern = "other", "none"
	}
	s.requests.WithLabelValues(method, pattern, strconv.Itoa(rec.status)).Observe(took.Seconds())
	level := slog.LevelInfo
	if r.Method == http.MethodGet && rec.status < 500 {
		level = slog.LevelDebug
	}
	// The path without its query, and never a header: neither token nor certificate reaches the log.
	s.d.Logger.Log(r.Context(), level, "api request", "method", r.Method, "path", r.URL.Path, "status", rec.status,
		"bytes", rec.bytes, "took", took, "who", rec.who, "from", r.RemoteAddr)
}
