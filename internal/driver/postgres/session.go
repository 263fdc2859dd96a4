package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/user"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"perdure/internal/errs"
)

// connectWait bounds how long a session may take to be opened where the caller's context allows more.
const connectWait = 5 * time.Second

// session is one of the agent's own connections over the private socket. It is kept open, so that closing, leasing and
// severing cost no connection and find a place when applications have taken all others (reserved connections).
// It belongs to one life of the server and is opened again by itself in the next.
type session struct {
	d       *Database
	purpose string
	turn    chan struct{}
	conn    *pgx.Conn
	proc    *process
}

func newSession(d *Database, purpose string) *session {
	return &session{d: d, purpose: purpose, turn: make(chan struct{}, 1)}
}

// do runs fn on the session's connection, alone. A connection that broke is opened again at the next call.
func (s *session) do(ctx context.Context, fn func(context.Context, *pgx.Conn) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return errs.New(errs.Unavailable, "the database session %q is busy: try again", s.purpose)
	}
	defer func() { <-s.turn }()
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	if err := fn(ctx, conn); err != nil {
		if conn.IsClosed() {
			s.conn = nil
		}
		return err
	}
	return nil
}

func (s *session) open(ctx context.Context) (*pgx.Conn, error) {
	p := s.d.running()
	if p == nil {
		s.drop()
		return nil, errs.New(errs.Unavailable, "the database of %s is not running", s.d.o.Member)
	}
	if s.conn != nil && (s.proc != p || s.conn.IsClosed()) {
		s.drop()
	}
	if s.conn == nil {
		ctx, cancel := context.WithTimeout(ctx, connectWait)
		defer cancel()
		c, err := s.d.connect(ctx, s.d.socketDir(), s.d.o.Database, s.purpose)
		if err != nil {
			return nil, err
		}
		s.conn, s.proc = c, p
	}
	return s.conn, nil
}

// drop closes the connection without waiting for the server.
func (s *session) drop() {
	if s.conn != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.conn.Close(ctx) // nothing is lost: the session holds no work
		s.conn = nil
	}
}

func (s *session) close() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.drop()
}

// connect opens a connection over a private socket. The agent's own commits never wait for a copy (I9).
func (d *Database) connect(ctx context.Context, socket, database, purpose string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, errs.New(errs.Internal, "connection settings: %w", err)
	}
	c.Host, c.Port, c.User, c.Database, c.Password = socket, uint16(d.o.Port), d.o.Superuser, database, ""
	c.Fallbacks = nil
	maps.Copy(c.RuntimeParams, map[string]string{
		"application_name": sessionName(purpose), "search_path": "pg_catalog", "synchronous_commit": "local",
		"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0", "lock_timeout": "0",
		"default_transaction_isolation": "read committed", "client_encoding": "UTF8", "jit": "off", "max_parallel_workers_per_gather": "0",
	})
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot reach the database of %s: %w", d.o.Member, err)
	}
	return conn, nil
}

// sessionName is what a session of the agent calls itself.
func sessionName(purpose string) string { return "perdure agent " + purpose }

// session gives one of the sessions made in New.
func (d *Database) session(purpose string) *session { return d.sessions[purpose] }

// failed turns a server's or connection's failure into one of ours.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	var own *errs.Error
	if errors.As(err, &own) {
		return err
	}
	what := fmt.Sprintf(format, args...)
	var server *pgconn.PgError
	if errors.As(err, &server) {
		kind := errs.Internal
		switch {
		case server.Code[:2] == "57", server.Code[:2] == "53", server.Code[:2] == "55", server.Code[:2] == "08":
			kind = errs.Unavailable
		}
		return errs.New(kind, "%s: %w", what, err)
	}
	return errs.New(errs.Unavailable, "%s: %w", what, err)
}

// sqlState gives the SQLSTATE of a server's refusal, "" for anything else.
func sqlState(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// osUsers are the operating system's users that are the agent: its own and the server's.
func (d *Database) osUsers() []string {
	names := []string{}
	if u, err := user.Current(); err == nil {
		names = append(names, u.Username)
	}
	if d.cred != nil && (len(names) == 0 || names[0] != d.o.User) {
		names = append(names, d.o.User)
	}
	return names
}
