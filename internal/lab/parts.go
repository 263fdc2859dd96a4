package lab

import (
	"context"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/proc"
	"perdure/internal/lab/story"
)

// parts are how the processes of a server call themselves in the process table. Sessions of applications bear their role.
var parts = map[story.Part]proc.Part{
	story.Checkpointer: {Title: "checkpointer"},
	story.Startup:      {Title: "startup "},
	story.Backend:      {Title: applicationRole + " ", One: true},
	story.Backends:     {Title: applicationRole + " "},
	story.WALWriter:    {Title: "walwriter"},
	story.WALReceiver:  {Title: "walreceiver"},
	story.WALSender:    {Title: "walsender ", One: true},
}

// applicationRole is what the reference system logs in as.
const applicationRole = "perdure_app"

// signals are what is done to a part. A terminated session ends as by pg_terminate_backend, a cancelled one as by pg_cancel_backend.
var signals = map[story.FaultKind]syscall.Signal{
	story.Freeze: syscall.SIGSTOP, story.Crash: syscall.SIGKILL, story.Terminate: syscall.SIGTERM, story.Cancel: syscall.SIGINT,
}

// serverName is what the supervisor calls a server, or the agent beside it.
func serverName(p story.Part, m estate.MemberID) string {
	if p == story.Agent {
		return "agent-" + string(m)
	}
	return databaseWord + string(m)
}

// strikeServer does to servers, or to parts of them, what goes past their agents.
func (r *running) strikeServer(ctx context.Context, b *broken) error {
	for _, name := range b.names {
		member := strings.TrimPrefix(name, databaseWord)
		var err error
		switch {
		case b.fault.Kind == story.Promote:
			err = r.promote(ctx, estate.MemberID(member))
		case b.fault.Kind == story.Restart:
			err = r.sup.RestartDatabase(ctx, member, r.server)
		case b.fault.Part == story.Agent, b.fault.Part == story.Postmaster:
			err = r.sup.SignalAlone(name, signals[b.fault.Kind])
		default:
			err = r.sup.SignalPart(member, parts[b.fault.Part], signals[b.fault.Kind])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// promote makes a copy writable as a person does who knows nothing of the product.
func (r *running) promote(ctx context.Context, m estate.MemberID) error {
	dir, ok := r.layout.DataDir(m)
	if !ok {
		return errs.New(errs.NotFound, "no member %q", m)
	}
	text, err := connString(dir)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, text)
	if err != nil {
		return errs.New(errs.Unavailable, "%s cannot be promoted by hand: %w", m, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "select pg_promote()"); err != nil {
		return errs.New(errs.Unavailable, "%s cannot be promoted by hand: %w", m, err)
	}
	return nil
}
