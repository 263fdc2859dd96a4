package sdk

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errNoCancel is what a cancel request meets.
var errNoCancel = errors.New("cancel requests are switched off: during COMMIT they would turn a wait for the copies into a success")

// warningClass is the SQLSTATE of a plain warning: among them is the one that a COMMIT's wait for the copies was cancelled.
const warningClass = "01000"

// session is what the SDK knows about one connection.
type session struct {
	established atomic.Bool
	// warned: a notice of class 01000 came since the last reset; what was committed meanwhile is unknown (I3).
	warned bool
}

const sessionKey = "perdure.session"

func sessionOf(c *pgx.Conn) *session {
	s, _ := c.PgConn().CustomData()[sessionKey].(*session)
	return s
}

// prepare gives one connection its own session. pgx sends a cancel request whenever it gives a connection up, through the
// connection's own dial function; so that function dials once, for the connection itself, and never again (I3).
func prepare(cfg *pgx.ConnConfig) {
	s := &session{}
	dial, after := cfg.DialFunc, cfg.AfterConnect
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if s.established.Load() {
			return nil, errNoCancel
		}
		return dial(ctx, network, addr)
	}
	cfg.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		s.established.Store(true)
		c.CustomData()[sessionKey] = s
		if after != nil {
			return after(ctx, c)
		}
		return nil
	}
	notice := cfg.OnNotice
	cfg.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		if n.Code == warningClass {
			s.warned = true
		}
		if notice != nil {
			notice(c, n)
		}
	}
}
